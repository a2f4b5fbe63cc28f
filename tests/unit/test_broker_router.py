import pytest

from broker.gateway import AnyGateway, ConnectReturnCode, Refusal
from broker.router import Router
from tests.doubles.gateway import StubGateway


@pytest.fixture
def dps() -> StubGateway:
    return StubGateway()


@pytest.fixture
def hub() -> StubGateway:
    return StubGateway()


@pytest.fixture
def router(dps: AnyGateway, hub: AnyGateway) -> Router:
    return Router({"0ne00000001": dps}, {"localhost": hub, "Hub1.Azure-Devices.net": hub, "::1": hub})


@pytest.mark.parametrize(
    "user_name",
    [
        "0ne00000001/registrations/dev1/api-version=2019-03-31",
        "0NE00000001/registrations/dev1/api-version=2019-03-31",
        "0ne00000001",
    ],
)
def test_id_scope_in_any_case_leads_to_its_dps(router: Router, dps: AnyGateway, user_name: str) -> None:
    assert router.find(user_name) is dps


@pytest.mark.parametrize(
    "user_name",
    [
        "localhost/dev1/?api-version=2021-04-12",
        "LOCALHOST/dev1",
        "localhost",
        "localhost:8883/dev1/?api-version=2021-04-12",
        "hub1.azure-devices.net/dev1/mod1/?api-version=2021-04-12",
        "HUB1.azure-devices.net:443/dev1",
        "::1/dev1",
    ],
)
def test_host_name_or_alias_with_or_without_port_leads_to_its_hub(
    router: Router, hub: AnyGateway, user_name: str
) -> None:
    assert router.find(user_name) is hub


def test_host_name_goes_before_an_id_scope_of_the_same_text(dps: AnyGateway, hub: AnyGateway) -> None:
    assert Router({"same": dps}, {"same": hub}).find("same/dev1") is hub


@pytest.mark.parametrize(
    ("user_name", "reason"),
    [
        ("0ne99/registrations/dev1", "no DPS instance has the ID scope '0ne99'; known: 0ne00000001"),
        ("elsewhere/dev1", "no hub has the host name 'elsewhere'; known: ::1, hub1.azure-devices.net, localhost"),
        ("localhost:x/dev1", "no hub has the host name 'localhost:x'"),
        ("localhost:/dev1", "no hub has the host name 'localhost:'"),
        (":8883/dev1", "no hub has the host name ':8883'"),
        ("/registrations/dev1", "no DPS instance has the ID scope ''"),
        ("elsewhere", "is neither"),
        ("", "is neither"),
    ],
)
def test_unknown_user_name_is_refused_with_what_is_known(router: Router, user_name: str, reason: str) -> None:
    found = router.find(user_name)
    assert isinstance(found, Refusal)
    assert found.return_code is ConnectReturnCode.NOT_AUTHORIZED
    assert reason in found.reason


def test_refusal_of_a_front_without_gateways_says_that_none_is_known() -> None:
    found = Router({}, {}).find("localhost/dev1")
    assert isinstance(found, Refusal)
    assert found.reason.endswith("known: none")


def test_each_gateway_is_listed_once() -> None:
    dps, hub = StubGateway(), StubGateway()
    assert Router({"a": dps, "b": dps}, {"c": hub, "d": hub}).gateways() == [dps, hub]
