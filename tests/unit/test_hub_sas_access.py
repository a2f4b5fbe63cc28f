from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from emulator.store import SqliteStore
from hub.grant import AuthMethod, Denial, Grant
from hub.identity import Authentication, AuthenticationType
from hub.policies import SharedAccessPolicies
from hub.sas import format_sas_token
from hub.sas_access import SasAccess, covers
from hub.settings import HubSettings
from hub.user_name import UserName

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
EXPIRES = NOW + timedelta(hours=1)
SETTINGS = HubSettings("hub1", "hub1.example")
DEVICE = UserName("hub1.example", "dev1")
MODULE = UserName("hub1.example", "dev1", "mod1")
KEYS = Authentication.generate_sas()
RESOURCE = "hub1.example/devices/dev1"


@pytest.fixture
def policies() -> Iterator[SharedAccessPolicies]:
    with SqliteStore(":memory:") as store:
        yield SharedAccessPolicies(store, "hub1")


@pytest.fixture
def access(policies: SharedAccessPolicies) -> SasAccess:
    return SasAccess(SETTINGS, policies)


def token(key: str | None, resource: str = RESOURCE, policy: str | None = None) -> bytes:
    return format_sas_token(quote(resource, safe=""), str(key), int(EXPIRES.timestamp()), policy).encode()


@pytest.mark.parametrize("key", [KEYS.primary_key, KEYS.secondary_key], ids=["primary", "secondary"])
def test_either_device_key_is_good_until_the_token_expires(access: SasAccess, key: str) -> None:
    assert access.check(DEVICE, KEYS, token(key), NOW) == Grant(AuthMethod.DEVICE_KEY, EXPIRES)


def test_module_key_has_its_own_method(access: SasAccess) -> None:
    password = token(KEYS.primary_key, f"{RESOURCE}/modules/mod1")
    assert access.check(MODULE, KEYS, password, NOW) == Grant(AuthMethod.MODULE_KEY, EXPIRES)


def reason(outcome: Grant | Denial) -> str:
    assert isinstance(outcome, Denial)
    assert str(KEYS.primary_key) not in outcome.reason
    return outcome.reason


def test_token_is_refused_from_the_second_it_expires(access: SasAccess) -> None:
    password = token(KEYS.primary_key)
    assert isinstance(access.check(DEVICE, KEYS, password, EXPIRES - timedelta(microseconds=1)), Grant)
    assert "expired at 2026-11-23T13:00:00+00:00" in reason(access.check(DEVICE, KEYS, password, EXPIRES))


def test_foreign_key_is_refused(access: SasAccess) -> None:
    password = token(Authentication.generate_sas().primary_key)
    assert reason(access.check(DEVICE, KEYS, password, NOW)) == "SAS token is signed with neither key of dev1"


def test_token_of_another_device_is_refused_even_with_the_same_key(access: SasAccess) -> None:
    password = token(KEYS.primary_key, "hub1.example/devices/dev2")
    assert "not for 'devices/dev1'" in reason(access.check(DEVICE, KEYS, password, NOW))


@pytest.mark.parametrize("password", [b"secret", b"\xff\xfe", b"SharedAccessSignature sr=a"])
def test_password_that_is_no_token_is_refused(access: SasAccess, password: bytes) -> None:
    assert reason(access.check(DEVICE, KEYS, password, NOW)).startswith("password is not a SAS token")


@pytest.mark.parametrize("kind", [AuthenticationType.SELF_SIGNED, AuthenticationType.CERTIFICATE_AUTHORITY])
def test_device_registered_with_a_certificate_gets_nowhere_with_a_token(
    access: SasAccess, kind: AuthenticationType
) -> None:
    outcome = access.check(DEVICE, replace(KEYS, type=kind), token(KEYS.primary_key), NOW)
    assert reason(outcome) == f"dev1 is registered with {kind}, but presents a SAS token"


@pytest.mark.parametrize("name", ["device", "iothubowner"])
@pytest.mark.parametrize("user", [DEVICE, MODULE])
def test_policy_with_device_connect_connects_any_identity(
    access: SasAccess, policies: SharedAccessPolicies, name: str, user: UserName
) -> None:
    policy = policies.get(name)
    assert policy is not None
    for key in (policy.primary_key, policy.secondary_key):
        outcome = access.check(user, Authentication.generate_sas(), token(key, "hub1.example", name), NOW)
        assert outcome == Grant(AuthMethod.HUB_POLICY, EXPIRES)


def test_policy_without_device_connect_is_refused(access: SasAccess, policies: SharedAccessPolicies) -> None:
    policy = policies.get("service")
    assert policy is not None
    outcome = access.check(DEVICE, KEYS, token(policy.primary_key, "hub1.example", "service"), NOW)
    assert reason(outcome) == "shared access policy service has no right DeviceConnect"


def test_unknown_policy_is_refused(access: SasAccess) -> None:
    outcome = access.check(DEVICE, KEYS, token(KEYS.primary_key, "hub1.example", "other"), NOW)
    assert reason(outcome) == "hub hub1 has no shared access policy 'other'"


def test_device_key_does_not_sign_for_a_policy(access: SasAccess) -> None:
    outcome = access.check(DEVICE, KEYS, token(KEYS.primary_key, RESOURCE, "device"), NOW)
    assert reason(outcome) == "SAS token is not signed with a key of the shared access policy device"


@pytest.mark.parametrize(
    ("switch", "user", "policy"),
    [
        ("disable_local_auth", DEVICE, "device"),
        ("disable_device_sas", DEVICE, None),
        ("disable_module_sas", MODULE, None),
    ],
)
def test_each_switch_refuses_its_kind_of_token_and_no_other(
    policies: SharedAccessPolicies, switch: str, user: UserName, policy: str | None
) -> None:
    device_policy = policies.get("device")
    assert device_policy is not None
    refused = {
        name: isinstance(
            SasAccess(replace(SETTINGS, **{name: True}), policies).check(
                user, KEYS, token(device_policy.primary_key if policy else KEYS.primary_key, policy=policy), NOW
            ),
            Denial,
        )
        for name in ("disable_local_auth", "disable_device_sas", "disable_module_sas")
    }
    assert [name for name, found in refused.items() if found] == [switch]


@pytest.mark.parametrize(
    ("resource", "user", "good"),
    [
        ("hub1.example%2Fdevices%2Fdev1", DEVICE, True),
        ("hub1.example%2fdevices%2fdev1", DEVICE, True),
        ("hub1.example/devices/dev1", DEVICE, True),
        ("hub1.example/devices/dev1/", DEVICE, True),
        ("hub1.example", DEVICE, True),
        ("hub1.example%2Fdevices", DEVICE, True),
        ("localhost%3A8883%2Fdevices%2Fdev1", DEVICE, True),
        ("other%2Fdevices%2Fdev1%2Fmodules%2Fmod1", MODULE, True),
        ("other%2Fdevices%2Fdev1", MODULE, True),
        ("other%2Fdevices%2Fdev1%2Fmodules%2Fmod1", DEVICE, False),
        ("other%2Fdevices%2Fdev1%2Fmodules%2Fmod2", MODULE, False),
        ("other%2Fdevices%2Fdev", DEVICE, False),
        ("other%2Fdevices%2Fdev12", DEVICE, False),
        ("other%2Fdevices%2FDEV1", DEVICE, False),
        ("other%2Fmessages%2Fdev1", DEVICE, False),
        ("other%252Fdevices%252Fdev2", DEVICE, False),
        ("other%25252Fdevices%25252Fdev1", DEVICE, False),
        ("h%2Fdevices%2Fa%2523b", UserName("h", "a#b"), True),
        ("h%2Fdevices%2Fa%23b", UserName("h", "a#b"), True),
        ("h%2Fdevices%2Fa%2541", UserName("h", "a%41"), True),
        ("h/devices/a%41", UserName("h", "a%41"), True),
    ],
)
def test_resource_is_a_segment_wise_prefix_of_the_endpoint(resource: str, user: UserName, good: bool) -> None:
    assert covers(resource, user) is good
