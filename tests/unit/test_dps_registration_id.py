"""What a registration ID may look like."""

import pytest

from dps.registration_id import is_registration_id, registration_key


@pytest.mark.parametrize("text", ["a", "9", "-", "sensor-001", "a.b_c:d", ".a", "a-", "x" * 128])
def test_registration_id_is_accepted(text: str) -> None:
    assert is_registration_id(text)


@pytest.mark.parametrize("text", ["", ".", "a.", "a_", "a:", "a b", "a/b", "ä", "a\n", "a%3A", "x" * 129, "１"])
def test_other_text_is_refused(text: str) -> None:
    assert not is_registration_id(text)


def test_registration_ids_are_case_insensitive() -> None:
    assert registration_key("Sensor-001") == registration_key("sENSOR-001") == "sensor-001"


def test_letter_beyond_ascii_is_none_of_an_id() -> None:
    kelvin = "\N{KELVIN SIGN}ey-1"
    assert kelvin.lower() == "key-1"
    assert registration_key(kelvin) != registration_key("Key-1")
