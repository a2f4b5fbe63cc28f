"""Every error class: a code whose first digits are a status, and what goes out."""

import pytest

from dps import errors
from dps.errors import DpsError

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and value is not DpsError]


@pytest.mark.parametrize("error", CLASSES)
def test_status_is_the_first_three_digits(error: type[DpsError]) -> None:
    assert 100_000 <= error.error_code <= 999_999
    assert error("x").status in {400, 401, 403, 404, 409, 412}


def test_only_the_two_certificate_errors_share_a_code() -> None:
    codes = [error.error_code for error in CLASSES]
    assert sorted({code for code in codes if codes.count(code) > 1}) == [401002]


@pytest.mark.parametrize("error", CLASSES)
def test_refused_credentials_never_say_why_on_the_wire(error: type[DpsError]) -> None:
    if error("x").status == 401:
        assert error("the reason").message == error.wire_message != ""
    assert str(error("the reason")) == "the reason"
