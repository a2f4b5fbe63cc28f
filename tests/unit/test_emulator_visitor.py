"""Web pages that a browser on the same machine shows must not use the control API."""

import pytest

from emulator.visitor import refuse_visitor

OWN = frozenset({"myhub.azure-devices.net"})


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8080",
        "LOCALHOST:8080",
        "hub2.localhost:8080",
        "127.0.0.1:8080",
        "127.9.9.9",
        "[::1]:8080",
        "myhub.azure-devices.net:8080",
        "MyHub.azure-devices.net",
    ],
)
def test_own_names_are_let_in_with_and_without_their_origin(host: str) -> None:
    assert refuse_visitor({"Host": host}, OWN) is None
    assert refuse_visitor({"Host": host, "Origin": f"http://{host}"}, OWN) is None


def test_program_without_either_header_is_let_in() -> None:
    """HTTP/1.0 knows no Host."""
    assert refuse_visitor({}, OWN) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "evillocalhost",
        "127.0.0.1.evil.example",
        "8.8.8.8",
        "10.0.0.1:8080",
        "[2001:db8::1]:8080",
        "",
        ":8080",
        "[",
        "[::1",
        "127.0.0.1@evil.example",
    ],
)
def test_name_that_was_made_to_lead_here_is_refused(host: str) -> None:
    """DNS rebinding: the browser says the name it believes to talk to."""
    assert "is asked as" in str(refuse_visitor({"Host": host}, OWN))


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "",
        "http://localhost",
        "http://localhost:3000",
        "https://localhost:8080",
        "http://127.0.0.1:8080",
    ],
)
def test_page_of_another_origin_is_refused(origin: str) -> None:
    """A form may be sent to another origin without asking first; the browser says from where."""
    assert "may not use the control API" in str(refuse_visitor({"Host": "localhost:8080", "Origin": origin}, OWN))
