"""What a registration ID (or an enrollment group ID, which follows the same rules) may look like."""

import re

MAX_CHARACTERS = 128
_FORM = re.compile(r"[A-Za-z0-9._:-]{0,127}[A-Za-z0-9-]")


def is_registration_id(text: str) -> bool:
    """Tell whether the text is 1 to 128 letters, digits or `-._:`, the last one a letter, a digit or a dash.

    Source: concepts-service.md (documented).
    """
    return _FORM.fullmatch(text) is not None


def registration_key(registration_id: str) -> str:
    """Return the form under which the ID is stored and compared: registration IDs are case-insensitive.

    A text beyond ASCII, which is no ID, stays as it is: the Kelvin sign in lower case would be the letter k.

    Source: concepts-service.md (documented).
    """
    return registration_id.lower() if registration_id.isascii() else registration_id
