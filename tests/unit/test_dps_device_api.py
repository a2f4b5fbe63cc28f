"""The transcripts of the wire reference, step by step."""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certs.keys import KeyType, generate_key
from certs.path import ValidPath, validate_path
from certs.peer import PeerChain
from dps.enrollment import ProvisioningStatus
from dps.registration import RegistrationStatus
from emulator.store import SqliteStore
from hub.identity import Authentication, AuthenticationType
from tests.doubles.dps_house import (
    CSR_VERSION,
    DEVICE,
    NOW,
    OTHER_KEY,
    Answer,
    Device,
    DpsHouse,
    Factory,
    body_with_csr,
    csr_for,
    group_token,
    token_for,
)

P256_CSR = (
    "MIHQMHcCAQAwFTETMBEGA1UEAwwKc2Vuc29yLTAwMTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMFaAydFGzR2+ruPrMIULt2cs1y3XaaAVGtn"
    "KrzcIT0DelRMsFzQaIunuXdOg0n3/5WLZSf63aU/xbZmXzrSB4ugADAKBggqhkjOPQQDAgNJADBGAiEAwgPyA/H+4nXQXlBhNuUoZqKN7z20uso7"
    "WF0F6wA/CMICIQDpezUiEwmVj+ymSKIVQV9AneaI0KZ+1prIyQ3+si2LJQ=="
)
P384_CSR = (
    "MIIBDTCBlAIBADAVMRMwEQYDVQQDDApzZW5zb3ItMDAxMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE/KzlePpsHpSqlhBUbmud5pirIF/QqNtF8n7R"
    "jLWRV0sKpNxFOcgHC8MECnJe2O5wflXsayzvnRbETZgdjZCqSADirSFVbnHI5NWAfyM1gHXLDIprp7SoOJMgNMDMREquoAAwCgYIKoZIzj0EAwMD"
    "aAAwZQIxAO2+Wj6/Asff02zd8InQ3I0P5rw6rPcbhysdQloOPNwFzmRoUyRVX7EH5IFFlC+D1QIwbFd/sEtTzICywMRrGRfv9pTHwopGaphCsp76"
    "rkXugWiyicxZodQLTzmtc0w9aoBP"
)
DELAY = timedelta(seconds=5)
MakeHouse = Callable[..., DpsHouse]


@pytest.fixture
def make_house() -> Iterator[MakeHouse]:
    with SqliteStore(":memory:") as store:
        yield lambda **settings: DpsHouse(store, **settings)


@pytest.fixture
def house(make_house: MakeHouse) -> DpsHouse:
    return make_house()


def certificates(answer: Answer) -> list[x509.Certificate]:
    chain = answer.state["issuedCertificateChain"]
    return [x509.load_der_x509_certificate(base64.b64decode(text, validate=True)) for text in chain]


def x509_device(house: DpsHouse, **changes: Any) -> Device:
    return house.connect(peer_chain=house.factory.chain(DEVICE), **changes)


def at(moment: datetime, device: Device) -> Device:
    device.now = moment
    return device


@pytest.mark.parametrize("csr", [P256_CSR, P384_CSR], ids=["p256", "p384"])
def test_x509_device_with_csr(make_house: MakeHouse, csr: str) -> None:
    """Transcript 7.1."""
    house = make_house(assigning_delay=DELAY)
    house.add_x509_group(credential_policy_name="default")
    device = x509_device(house)

    accepted = device.register(json.dumps({"registrationId": DEVICE, "csr": csr}).encode())
    operation_id = accepted.body["operationId"]
    assert accepted.topic == "$dps/registrations/res/202/?$rid=1&retry-after=3"
    assert accepted.body == {"operationId": operation_id, "status": "assigning"}

    assigning = device.poll(operation_id)
    assert assigning.topic == "$dps/registrations/res/202/?$rid=2&retry-after=3"
    state = {"registrationId": DEVICE, "status": "assigning"}
    assert assigning.body == {"operationId": operation_id, "status": "assigning", "registrationState": state}

    final = at(NOW + DELAY, device).poll(operation_id)
    assert final.topic == "$dps/registrations/res/200/?$rid=3"
    assert final.body["operationId"] == operation_id
    assert final.body["status"] == "assigned"
    chain = final.state.pop("issuedCertificateChain")
    etag = final.state.pop("etag")
    assert final.state == {
        "x509": {"enrollmentGroupId": "factory"},
        "registrationId": DEVICE,
        "createdDateTimeUtc": "2026-11-23T10:00:00.1234560Z",
        "assignedHub": final.state["assignedHub"],
        "deviceId": DEVICE,
        "status": "assigned",
        "substatus": "initialAssignment",
        "lastUpdatedDateTimeUtc": "2026-11-23T10:00:05.1234560Z",
    }
    assert base64.b64decode(etag).startswith(b'"')
    assert len(chain) == 3


def test_symmetric_key_device_of_the_python_sdk(house: DpsHouse) -> None:
    """Transcript 7.2."""
    house.add_key_device()
    house.hubs.pop("hub2.example")
    device = house.connect(password=token_for(OTHER_KEY, slash="%2f"), api_version="2019-03-31", clean_session=False)
    accepted = device.register(b'{"payload": null, "registrationId": "sensor-001"}')
    assert accepted.status == 202
    final = device.poll(accepted.body["operationId"])
    assert final.status == 200
    assert final.body["status"] == "assigned"
    assert set(final.state) == {
        "registrationId",
        "createdDateTimeUtc",
        "assignedHub",
        "deviceId",
        "status",
        "substatus",
        "lastUpdatedDateTimeUtc",
        "etag",
    }
    assert (final.state["assignedHub"], final.state["deviceId"]) == ("hub1.example", DEVICE)


def test_disabled_enrollment(house: DpsHouse) -> None:
    """Transcript 7.3."""
    house.add_key_group(provisioning_status=ProvisioningStatus.DISABLED)
    answer = house.connect(password=group_token()).register()
    assert answer.topic == "$dps/registrations/res/200/?$rid=1"
    state = {"registrationId": DEVICE, "status": "disabled"}
    assert answer.body == {"operationId": "", "status": "disabled", "registrationState": state}


def test_unknown_sas_registration(house: DpsHouse) -> None:
    """Transcript 7.4, SAS."""
    answer = house.connect(password=group_token()).register()
    assert answer.topic == "$dps/registrations/res/401/?$rid=1"
    tracking_id = answer.body.pop("trackingId")
    assert len(tracking_id) == 36
    assert answer.body == {
        "errorCode": 401000,
        "message": "Unauthorized",
        "timestampUtc": "2026-11-23T10:00:00.1234560Z",
    }


def test_unknown_certificate_authority(house: DpsHouse) -> None:
    """Transcript 7.4, X.509."""
    answer = x509_device(house).register()
    assert answer.topic == "$dps/registrations/res/401/?$rid=1"
    assert (answer.body["errorCode"], answer.body["message"]) == (401002, "CA certificate not found.")


@pytest.mark.parametrize(
    "csr",
    [
        "-----BEGIN CERTIFICATE REQUEST-----\nMIHQ\n-----END CERTIFICATE REQUEST-----",
        P256_CSR[:64] + "\n" + P256_CSR[64:],
        P256_CSR.replace("+", "-").replace("/", "_"),
        "not base64!",
        "",
        17,
        ["MIHQ"],
        {"csr": P256_CSR},
    ],
)
def test_csr_that_is_not_base64_der(house: DpsHouse, csr: object) -> None:
    """Transcript 7.5, first half."""
    house.add_x509_group(credential_policy_name="default")
    answer = x509_device(house).register(json.dumps({"csr": csr}).encode())
    assert answer.topic == "$dps/registrations/res/400/?$rid=1"
    assert (answer.body["errorCode"], answer.body["message"]) == (400012, "Deserialization error")
    assert house.service.registrations.find(DEVICE) is None


def bad_csrs() -> dict[str, bytes]:
    good = base64.b64decode(P256_CSR)
    return {
        "not a DER PKCS#10": b"\x30\x03\x02\x01\x05",
        "must have one CN": csr_for("sensor-002"),
        "is not by its own key": good[:-1] + bytes([good[-1] ^ 1]),
    }


@pytest.mark.parametrize("reason", ["not a DER PKCS#10", "must have one CN", "is not by its own key"])
def test_csr_that_the_policy_refuses(house: DpsHouse, reason: str) -> None:
    """Transcript 7.5, second half."""
    house.add_x509_group(credential_policy_name="default")
    csr = bad_csrs()[reason]
    device = x509_device(house)
    body = json.dumps({"csr": base64.b64encode(csr).decode()}).encode()
    accepted = device.register(body)
    assert accepted.status == 202
    final = device.poll(accepted.body["operationId"])
    assert final.topic == "$dps/registrations/res/200/?$rid=2"
    assert final.body["status"] == "failed"
    assert reason in final.state.pop("errorMessage")
    assert final.state == {
        "registrationId": DEVICE,
        "createdDateTimeUtc": "2026-11-23T10:00:00.1234560Z",
        "status": "failed",
        "errorCode": 400040,
        "lastUpdatedDateTimeUtc": "2026-11-23T10:00:00.1234560Z",
        "etag": final.state["etag"],
    }


@pytest.mark.parametrize("reason", ["not a DER PKCS#10", "must have one CN", "is not by its own key"])
def test_bad_csr_is_refused_at_once_where_so_configured(make_house: MakeHouse, reason: str) -> None:
    house = make_house(immediate_csr_errors=True)
    house.add_x509_group(credential_policy_name="default")
    csr = bad_csrs()[reason]
    answer = x509_device(house).register(json.dumps({"csr": base64.b64encode(csr).decode()}).encode())
    assert answer.status == 400
    assert answer.body["errorCode"] == 400040
    assert house.service.registrations.find(DEVICE) is None


def test_good_csr_is_not_refused_where_errors_are_immediate(make_house: MakeHouse) -> None:
    house = make_house(immediate_csr_errors=True)
    house.add_x509_group(credential_policy_name="default")
    assert len(certificates(x509_device(house).onboard(body_with_csr()))) == 3


@pytest.mark.parametrize("immediate", [False, True])
def test_csr_that_nobody_would_sign_is_not_looked_at(make_house: MakeHouse, immediate: bool) -> None:
    """Without a policy the service leaves out the chain, whatever the CSR is."""
    house = make_house(immediate_csr_errors=immediate)
    house.add_x509_group()
    answer = x509_device(house).onboard(body_with_csr("somebody-else").replace(b"somebody-else", DEVICE.encode(), 1))
    assert answer.body["status"] == "assigned"
    assert "issuedCertificateChain" not in answer.state


def test_chain_is_leaf_then_issuing_ca_then_root(house: DpsHouse) -> None:
    house.add_x509_group(credential_policy_name="default")
    leaf, issuing_ca, root = certificates(x509_device(house).onboard(body_with_csr()))
    assert root == house.adr.root("factory")
    assert issuing_ca in house.adr.trust_anchors("factory")
    assert isinstance(validate_path(leaf, [issuing_ca], [root], NOW), ValidPath)
    assert leaf.subject.rfc4514_string() == f"CN={DEVICE}"


def test_each_group_is_signed_for_by_the_policy_it_names(house: DpsHouse) -> None:
    """Its own issuing CA, and its own validity; a leaf ends with its CA all the same."""
    house.adr.create_policy("factory", "audited", NOW, leaf_validity=timedelta(days=90))
    house.add_x509_group(credential_policy_name="default")
    house.add_key_group(credential_policy_name="audited")
    short, default_ca, _ = certificates(x509_device(house).onboard(body_with_csr()))
    keyed = house.connect("keyed-1", password=group_token("keyed-1"))
    long, audited_ca, _ = certificates(keyed.onboard(body_with_csr("keyed-1")))
    assert default_ca.public_key() != audited_ca.public_key()
    second = NOW.replace(microsecond=0)
    assert short.not_valid_after_utc - second == timedelta(days=30)
    assert long.not_valid_after_utc - second == timedelta(days=90)
    last_day = audited_ca.not_valid_after_utc - timedelta(days=1)
    late = house.connect("keyed-2", password=group_token("keyed-2", last_day + timedelta(hours=1)), now=last_day)
    last, issuer, _ = certificates(late.onboard(body_with_csr("keyed-2")))
    assert issuer == audited_ca
    assert last.not_valid_after_utc == audited_ca.not_valid_after_utc


def test_extensions_that_a_request_asks_for_are_not_in_the_leaf(house: DpsHouse) -> None:
    """A device that asks for a CA certificate, or for names, gets what its policy gives to every device."""
    house.add_x509_group(credential_policy_name="default")
    modest = certificates(x509_device(house).onboard(body_with_csr()))[0]
    key = generate_key(KeyType.P256)
    builder = x509.CertificateSigningRequestBuilder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DEVICE)]))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("hub1.example")]), critical=False)
    csr = base64.b64encode(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)).decode()
    leaf = certificates(x509_device(house).onboard(json.dumps({"csr": csr}).encode()))[0]
    assert leaf.public_key() == key.public_key()
    assert [each.oid for each in leaf.extensions] == [each.oid for each in modest.extensions]
    names, constraints = x509.SubjectAlternativeName, x509.BasicConstraints
    assert leaf.extensions.get_extension_for_class(names) == modest.extensions.get_extension_for_class(names)
    assert not leaf.extensions.get_extension_for_class(constraints).value.ca


def test_chain_is_repeated_by_a_poll_of_the_same_operation_only(house: DpsHouse) -> None:
    house.add_x509_group(credential_policy_name="default")
    device = x509_device(house)
    first = device.register(body_with_csr()).body["operationId"]
    chain = device.poll(first).state["issuedCertificateChain"]
    assert device.poll(first).state["issuedCertificateChain"] == chain
    second = device.register().body["operationId"]
    assert "issuedCertificateChain" not in device.poll(second).state


def test_csr_without_policy_gives_no_chain_and_no_error(house: DpsHouse) -> None:
    house.add_x509_group()
    final = x509_device(house).onboard(body_with_csr())
    assert final.body["status"] == "assigned"
    assert "issuedCertificateChain" not in final.state


def test_policy_without_csr_gives_no_chain(house: DpsHouse) -> None:
    house.add_x509_group(credential_policy_name="default")
    final = x509_device(house).onboard()
    assert final.body["status"] == "assigned"
    assert "issuedCertificateChain" not in final.state


def test_symmetric_key_device_gets_a_chain_too(house: DpsHouse) -> None:
    house.add_key_group(credential_policy_name="default")
    final = house.connect(password=group_token()).onboard(body_with_csr())
    assert final.state["symmetricKey"] == {"enrollmentGroupId": "keys"}
    assert len(certificates(final)) == 3


def test_each_registration_issues_a_new_certificate(house: DpsHouse) -> None:
    house.add_x509_group(credential_policy_name="default")
    device = x509_device(house)
    body = body_with_csr()
    leaves = {certificates(device.onboard(body))[0].serial_number for _ in range(3)}
    assert len(leaves) == 3
    assert len(house.adr.issued("factory", DEVICE)) == 3


@pytest.mark.parametrize("api_version", ["2019-03-31", "2021-06-01", "2021-11-01-preview"])
def test_older_api_versions_ignore_a_csr(house: DpsHouse, api_version: str, caplog: pytest.LogCaptureFixture) -> None:
    house.add_x509_group(credential_policy_name="default")
    final = x509_device(house, api_version=api_version).onboard(body_with_csr())
    assert final.body["status"] == "assigned"
    assert "issuedCertificateChain" not in final.state
    assert f"device sensor-001: api-version {api_version} has no csr, ignored" in caplog.text


def test_older_api_versions_refuse_a_csr_when_strict(make_house: MakeHouse) -> None:
    house = make_house(strict=True)
    house.add_x509_group(credential_policy_name="default")
    answer = x509_device(house, api_version="2019-03-31").register(body_with_csr())
    assert answer.body["errorCode"] == 400012


def test_chain_is_not_shown_to_a_poll_under_an_older_api_version(house: DpsHouse) -> None:
    house.add_x509_group(credential_policy_name="default")
    operation_id = x509_device(house).register(body_with_csr()).body["operationId"]
    older = x509_device(house, api_version="2019-03-31").poll(operation_id)
    assert older.body["status"] == "assigned"
    assert "issuedCertificateChain" not in older.state


def test_preview_of_2021_takes_and_gives_pem(house: DpsHouse) -> None:
    house.add_x509_group(credential_policy_name="default")
    csr = x509.load_der_x509_csr(base64.b64decode(P256_CSR))
    pem = csr.public_bytes(Encoding.PEM).decode()
    body = json.dumps({"registrationId": DEVICE, "clientCertificateCsr": pem}).encode()
    final = x509_device(house, api_version="2021-11-01-preview").onboard(body)
    leaf = x509.load_pem_x509_certificate(final.state["issuedClientCertificate"].encode())
    assert leaf.public_key() == csr.public_key()
    assert "issuedCertificateChain" not in final.state


def test_reprovisioning_to_another_hub_migrates(house: DpsHouse) -> None:
    """Transcript 7.7."""
    house.add_x509_group(iot_hubs=("hub1.example",), credential_policy_name="default")
    first = x509_device(house).onboard()
    house.change_group("factory", iot_hubs=("hub2.example",))
    second = x509_device(house, now=NOW + DELAY).onboard(body_with_csr())
    assert first.body["operationId"] != second.body["operationId"]
    assert (second.state["assignedHub"], second.state["substatus"]) == ("hub2.example", "deviceDataMigrated")
    assert second.state["createdDateTimeUtc"] == first.state["createdDateTimeUtc"]
    assert second.state["lastUpdatedDateTimeUtc"] == "2026-11-23T10:00:05.1234560Z"
    assert second.state["etag"] != first.state["etag"]
    assert len(certificates(second)) == 3


@pytest.mark.parametrize(
    ("api_version", "substatus"),
    [
        ("2019-03-31", "initialAssignment"),
        ("2019-04-15", "reprovisionedToInitialAssignment"),
        (CSR_VERSION, "reprovisionedToInitialAssignment"),
    ],
)
def test_second_registration_at_the_same_hub(house: DpsHouse, api_version: str, substatus: str) -> None:
    house.add_key_group()
    device = house.connect(password=group_token(), api_version=api_version)
    assert device.onboard().state["substatus"] == "initialAssignment"
    assert device.onboard().state["substatus"] == substatus


def test_poll_of_an_unknown_operation(house: DpsHouse) -> None:
    house.add_key_group()
    answer = house.connect(password=group_token()).poll("5.0.unknown")
    assert answer.topic == "$dps/registrations/res/404/?$rid=1"
    assert (answer.body["errorCode"], answer.body["message"]) == (404204, "Operation not found")


def test_poll_of_another_device_is_refused_as_if_there_were_none(
    house: DpsHouse, caplog: pytest.LogCaptureFixture
) -> None:
    house.add_x509_group(credential_policy_name="default")
    operation_id = x509_device(house).register(body_with_csr()).body["operationId"]
    spy = house.connect("sensor-002", peer_chain=house.factory.chain("sensor-002"))
    answer, unknown = spy.poll(operation_id), spy.poll("5.0.unknown")
    assert {**answer.body, "trackingId": ""} == {**unknown.body, "trackingId": ""}
    assert "belongs to device 'sensor-001'" in caplog.text


def test_poll_from_a_new_connection_is_answered(house: DpsHouse) -> None:
    house.add_key_group()
    operation_id = house.connect(password=group_token()).register().body["operationId"]
    assert house.connect(password=group_token()).poll(operation_id).body["status"] == "assigned"
    upper = group_token("SENSOR-001")
    assert house.connect("SENSOR-001", password=upper).poll(operation_id).body["status"] == "assigned"


@pytest.mark.parametrize("body", [b" " * 98_305, b'{"payload":{"x":"' + b"y" * 98_304 + b'"}}'])
def test_body_over_the_limit_is_refused(house: DpsHouse, body: bytes) -> None:
    house.add_key_group()
    answer = house.connect(password=group_token()).register(body)
    assert answer.body["errorCode"] == 400000
    assert f"{len(body)} bytes; at most 98304" in answer.body["message"]


def test_registration_id_of_another_device_is_refused(house: DpsHouse) -> None:
    house.add_key_group()
    answer = house.connect(password=group_token()).register(b'{"registrationId":"sensor-002"}')
    assert answer.body["errorCode"] == 400000
    assert "'sensor-002' is not the 'sensor-001'" in answer.body["message"]


def test_unauthorised_device_learns_nothing_about_its_body(house: DpsHouse) -> None:
    assert house.connect(password=group_token()).register(b"{").body["errorCode"] == 401000


def test_disabled_registration_is_recorded_and_can_come_back(house: DpsHouse) -> None:
    house.add_key_group()
    device = house.connect(password=group_token())
    hub = device.onboard().state["assignedHub"]
    house.change_group("keys", provisioning_status=ProvisioningStatus.DISABLED)
    assert device.register().body["status"] == "disabled"
    disabled = house.service.registrations.get(DEVICE)
    assert (disabled.status, disabled.assigned_hub) == (RegistrationStatus.DISABLED, hub)
    assert house.hubs[hub].registry.get(DEVICE) is not None
    house.change_group("keys", provisioning_status=ProvisioningStatus.ENABLED)
    assert device.onboard().body["status"] == "assigned"


def test_answered_operation_survives_a_restart(house: DpsHouse) -> None:
    house.add_x509_group(credential_policy_name="default")
    accepted = x509_device(house).register(body_with_csr())
    house.restarted()
    final = x509_device(house).poll(accepted.body["operationId"])
    assert len(certificates(final)) == 3


def test_answered_operation_is_in_the_file_when_the_process_dies(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with SqliteStore(path) as store:
        house = DpsHouse(store)
        house.add_x509_group(credential_policy_name="default")
        chain = house.factory.chain(DEVICE)
        operation_id = house.connect(peer_chain=chain).register(body_with_csr()).body["operationId"]
        house.add_key_group("lost")
    with SqliteStore(path) as store:
        house.store = store
        service = house.restarted()
        assert len(certificates(house.connect(peer_chain=chain).poll(operation_id))) == 3
        assert service.enrollments.groups.find("lost") is None


def test_another_factory_is_refused(house: DpsHouse) -> None:
    house.add_x509_group()
    other = house.connect(peer_chain=Factory.make("Factory").chain(DEVICE))
    assert other.register().body["errorCode"] == 401002


def test_connection_without_credentials_is_unauthorised(house: DpsHouse, caplog: pytest.LogCaptureFixture) -> None:
    house.add_x509_group()
    assert house.connect(peer_chain=PeerChain()).register().body["errorCode"] == 401000
    assert "brought neither a SAS token nor a client certificate" in caplog.text


@pytest.mark.parametrize("delay", [timedelta(0), DELAY], ids=["at once", "delayed"])
def test_device_of_an_x509_group_is_known_to_its_hub_by_thumbprint(make_house: MakeHouse, delay: timedelta) -> None:
    """Without a CSR the hub knows the onboarding leaf, and after another registration the new one."""
    house = make_house(assigning_delay=delay)
    house.add_x509_group()
    for moment in (NOW, NOW + 2 * DELAY):
        chain = house.factory.chain(DEVICE)
        device = house.connect(peer_chain=chain, now=moment)
        operation_id = device.register().body["operationId"]
        final = at(moment + delay, device).poll(operation_id)
        identity = house.hubs[final.state["assignedHub"]].registry.get(DEVICE)
        assert identity is not None
        assert identity.authentication == Authentication(
            AuthenticationType.SELF_SIGNED,
            primary_thumbprint=chain.sha256_thumbprint,
            secondary_thumbprint=chain.sha256_thumbprint,
        )
