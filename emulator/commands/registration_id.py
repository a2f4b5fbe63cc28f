"""The registration ID that a command is given."""

from certs.authority import MAX_COMMON_NAME
from dps.registration_id import is_registration_id
from emulator.commands.options import CommandFailed


def require_registration_id(text: str) -> str:
    """Give back a registration ID of the allowed form: it names files, and DPS refuses any other.

    Raises:
        CommandFailed: it has another form.
    """
    if not is_registration_id(text):
        raise CommandFailed(
            f"registration ID {text!r} is not 1 to 128 letters, digits or '-._:' ending in a letter, a digit or a dash"
        )
    return text


def require_common_name(registration_id: str) -> str:
    """Give back a registration ID that a certificate can carry.

    Raises:
        CommandFailed: it has another form, or more characters than a common name may have.
    """
    if len(require_registration_id(registration_id)) > MAX_COMMON_NAME:
        raise CommandFailed(
            f"registration ID {registration_id!r} has {len(registration_id)} characters: a certificate's common name "
            f"has at most {MAX_COMMON_NAME}; only a symmetric key goes with a longer one"
        )
    return registration_id
