"""Sessions and subscriptions, through the gateway."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hub.hub import Hub
from hub.sas import format_sas_token
from hub.session import Subscription

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
C2D = "devices/dev1/messages/devicebound/#"
TWIN = "$iothub/twin/res/#"


@pytest.fixture
def dev1(house: Any) -> Any:
    """Connects the device `dev1` again and again."""
    chain = house.onboard("dev1")

    def connect(*, clean: bool, now: datetime = NOW) -> Any:
        return house.connect("dev1", clean_session=clean, peer_chain=chain, now=now)

    return connect


def held(house: Any) -> dict[str, Subscription]:
    return dict(house.hub.gateway._sessions.subscriptions("hub1/dev1"))


def test_session_present_is_true_only_when_a_clean_0_session_is_resumed(dev1: Any) -> None:
    present = [dev1(clean=clean).session.session_present for clean in (False, False, True, True, False, False)]
    assert present == [False, True, False, False, False, True]


def test_subscriptions_of_clean_0_survive_disconnect_and_restart(house: Any, dev1: Any) -> None:
    device = dev1(clean=False)
    device.subscribe(C2D, TWIN)
    device.disconnect()
    assert set(held(house)) == {C2D, TWIN}
    house.hub = Hub(house.hub.settings, house.store, house.adr)
    assert dev1(clean=False).session.session_present
    assert set(held(house)) == {C2D, TWIN}


def test_clean_1_forgets_what_was_stored(house: Any, dev1: Any) -> None:
    dev1(clean=False).subscribe(C2D)
    dev1(clean=True)
    assert held(house) == {}


def test_subscriptions_of_clean_1_go_with_the_connection(house: Any, dev1: Any) -> None:
    device = dev1(clean=True)
    device.subscribe(C2D)
    assert set(held(house)) == {C2D}
    device.disconnect()
    assert house.store.list("hub1.sessions") == []


def test_clean_1_connection_that_died_with_the_process_is_no_session(house: Any, dev1: Any) -> None:
    dev1(clean=True).subscribe(C2D)
    assert not dev1(clean=False).session.session_present
    assert held(house) == {}


@pytest.mark.parametrize("clean", [True, False])
def test_old_connection_that_ends_after_its_successor_began_takes_nothing_away(
    house: Any, dev1: Any, clean: bool
) -> None:
    old = dev1(clean=True)
    old.subscribe(TWIN)
    new = dev1(clean=clean)
    new.subscribe(C2D)
    old.disconnect()
    assert set(held(house)) == {C2D}


def test_repeated_subscribe_keeps_its_time_and_takes_the_new_qos(house: Any, dev1: Any) -> None:
    device = dev1(clean=False)
    device.subscribe(C2D, qos=0)
    device.now = LATER
    device.subscribe(C2D, TWIN, qos=1)
    assert held(house) == {C2D: Subscription(1, NOW), TWIN: Subscription(1, LATER)}


def test_filter_that_was_given_up_starts_anew(house: Any, dev1: Any) -> None:
    device = dev1(clean=False)
    device.subscribe(C2D, TWIN)
    device.unsubscribe(C2D, "never held")
    assert set(held(house)) == {TWIN}
    device.now = LATER
    device.subscribe(C2D)
    assert held(house)[C2D].since == LATER


def test_unsubscribe_of_what_is_not_held_writes_nothing(house: Any, dev1: Any) -> None:
    device = dev1(clean=True)
    device.unsubscribe(C2D)
    assert house.store.list("hub1.sessions") == []


def test_device_and_module_have_sessions_of_their_own(house: Any, dev1: Any) -> None:
    house.hub.registry.create_module("dev1", "mod1", None, NOW)
    policy = house.hub.policies.get("device")
    token = format_sas_token("hub1.example", policy.primary_key, 1900000000, "device").encode()
    house.connect("dev1/mod1", clean_session=False, password=token).subscribe(TWIN)
    assert not dev1(clean=False).session.session_present
    assert held(house) == {}
