import pytest

from device_sim.dialer import name_to_look_up


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("hub-us.localhost", "localhost"),
        ("a.b.LOCALHOST", "localhost"),
        ("localhost", "localhost"),
        ("notlocalhost", "notlocalhost"),
        ("hub.localhost.example", "hub.localhost.example"),
        ("hub1.azure-devices.net", "hub1.azure-devices.net"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_names_under_localhost_are_this_machine(host: str, name: str) -> None:
    assert name_to_look_up(host) == name
