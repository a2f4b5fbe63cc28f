"""Revocation as devices, other devices and relying parties see it, over real sockets."""

import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.conformance.management import SECOND, Management
from tests.conformance.own_root import make_root, openssl, sign
from tests.conformance.plain_device import (
    DpsClient,
    HubClient,
    Pair,
    certificates_of,
    csr_text,
    derived_key,
    key_pem,
    p256,
    pem_of,
    tls_context,
)
from tests.conformance.running_emulator import RunningEmulator, start_emulator

TWO_PLANTS = """
allow_short_validity: true
namespaces: {works: {policies: {plant-1: {}, plant-2: {}}}}
hubs: {hub1: {namespace: works}}
dps:
  dps1:
    namespace: works
    enrollment_groups:
      plant-1: {symmetric_key: generate, credential_policy: plant-1}
      plant-2: {symmetric_key: generate, credential_policy: plant-2}
"""
POLICIES = "namespaces/works/credentials/default/policies"


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[RunningEmulator]:
    """One namespace with two policies, and a group of devices for each."""
    running = start_emulator(tmp_path, config=TWO_PLANTS)
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.fixture
def management(emulator: RunningEmulator) -> Management:
    return Management(emulator)


def register(emulator: RunningEmulator, device: str, plant: str, body: dict[str, Any]) -> Any:
    groups = emulator.info["provisioningServices"][0]["enrollmentGroups"]
    key = next(each["primaryKey"] for each in groups if each["id"] == plant)
    client = DpsClient.make(
        emulator.mqtt_port, tls_context(emulator.ca_file), emulator.id_scope(), device, derived_key(key, device)
    )
    with client.connected() as dps:
        return dps.onboard(body)


def onboard(emulator: RunningEmulator, directory: Path, device: str, plant: str = "plant-1") -> Pair:
    """Give a device its operational certificate; the file holds the whole chain."""
    key = p256()
    answer = register(emulator, device, plant, {"csr": csr_text(device, key)})
    assert answer.body["status"] == "assigned", answer
    chain = certificates_of(answer.state["issuedCertificateChain"])
    return Pair.write(directory, device, pem_of(*chain), key_pem(key))


def hub_client(emulator: RunningEmulator, device: str, pair: Pair) -> HubClient:
    return HubClient.make(emulator.mqtt_port, tls_context(emulator.ca_file, pair), "localhost", device)


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
    return body


def url_in(certificate: x509.Certificate, kind: Any) -> str:
    """The address in a certificate's CDP or AIA extension."""
    value = certificate.extensions.get_extension_for_class(kind).value
    if kind is x509.CRLDistributionPoints:
        return str(value[0].full_name[0].value)
    return str(value[0].access_location.value)


def verify_with_lists(directory: Path, chain: list[x509.Certificate]) -> str:
    """What `openssl verify -crl_check_all` says, with the lists and issuers that the certificates themselves name."""
    leaf, issuer = chain[:2]
    issuing_ca = x509.load_der_x509_certificate(fetch(url_in(leaf, x509.AuthorityInformationAccess)))
    root = x509.load_der_x509_certificate(fetch(url_in(issuer, x509.AuthorityInformationAccess)))
    assert (issuing_ca, root) == (issuer, chain[2])
    lists = b""
    for number, certificate in enumerate((leaf, issuer)):
        (directory / f"{number}.crl").write_bytes(fetch(url_in(certificate, x509.CRLDistributionPoints)))
        lists += openssl(directory, "crl", "-inform", "DER", "-in", f"{number}.crl", "-outform", "PEM").encode()
    (directory / "lists.pem").write_bytes(lists)
    for name, certificate in (("root", root), ("ica", issuing_ca), ("leaf", leaf)):
        (directory / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    command = ["openssl", "verify", "-x509_strict", "-crl_check_all", "-CRLfile", "lists.pem", "-CAfile", "root.pem"]
    command += ["-untrusted", "ica.pem", "leaf.pem"]
    answer = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    return answer.stdout + answer.stderr


# --- a device


def test_revoked_device_is_disconnected_and_comes_back_through_dps(
    emulator: RunningEmulator, management: Management, tmp_path: Path
) -> None:
    """Every certificate it ever had is refused, an earlier one too; no other device notices."""
    first = onboard(emulator, tmp_path / "first", "pump")
    second = onboard(emulator, tmp_path / "second", "pump")
    bystander = hub_client(emulator, "valve", onboard(emulator, tmp_path, "valve")).connected()
    live = hub_client(emulator, "pump", second).connected()
    management.done("POST", "namespaces/works/devices/pump/revoke", {})
    assert live.wait_closed()
    since = 0
    for pair in (first, second):
        assert hub_client(emulator, "pump", pair).connect() == 5
    emulator.wait_for_log("device pump: refused by hub hub1", "was revoked", since=since)
    again = onboard(emulator, tmp_path / "third", "pump")
    with hub_client(emulator, "pump", again).connected() as hub:
        hub.send_telemetry({"back": True})
    bystander.send_telemetry({"undisturbed": True})
    assert bystander.is_connected
    bystander.close()


def test_revoked_and_disabled_device_gets_nothing_anywhere(
    emulator: RunningEmulator, management: Management, tmp_path: Path
) -> None:
    """Not at the hub, and no certificate at DPS, until it is enabled again; not after a restart either."""
    pair = onboard(emulator, tmp_path, "pump")
    live = hub_client(emulator, "pump", pair).connected()
    management.done("POST", "namespaces/works/devices/pump/revoke", {"disable": True})
    assert live.wait_closed()
    answer = register(emulator, "pump", "plant-1", {"csr": csr_text("pump", p256())})
    assert answer.body["status"] == "failed"
    assert hub_client(emulator, "pump", pair).connect() == 5
    emulator.wait_for_log("device pump: refused by hub hub1", "disabled in the device registry")
    management.done("PATCH", "namespaces/works/devices/pump", {"properties": {"enabled": True}})
    assert hub_client(emulator, "pump", pair).connect() == 5  # enabled, and still revoked
    hub_client(emulator, "pump", onboard(emulator, tmp_path, "pump")).connected().close()


def test_disabled_device_keeps_its_certificate_for_later(
    emulator: RunningEmulator, management: Management, tmp_path: Path
) -> None:
    """Disabling is no revocation."""
    pair = onboard(emulator, tmp_path, "pump")
    live = hub_client(emulator, "pump", pair).connected()
    management.done("PATCH", "namespaces/works/devices/pump", {"properties": {"enabled": False}})
    assert live.wait_closed()
    assert hub_client(emulator, "pump", pair).connect() == 5
    management.done("PATCH", "namespaces/works/devices/pump", {"properties": {"enabled": True}})
    hub_client(emulator, "pump", pair).connected().close()


def test_revocation_survives_a_kill(emulator: RunningEmulator, management: Management, tmp_path: Path) -> None:
    """Once the answer is out, the revocation is stored."""
    pair = onboard(emulator, tmp_path, "pump")
    management.done("POST", "namespaces/works/devices/pump/revoke")
    emulator.kill()
    again = start_emulator(tmp_path, *emulator.ports)
    try:
        assert hub_client(again, "pump", pair).connect() == 5
    finally:
        again.stop()


# --- a policy


def test_revoked_issuer_harms_the_devices_of_its_policy_only(
    emulator: RunningEmulator, management: Management, tmp_path: Path
) -> None:
    """Different policies for different groups: what one issuing CA signed is gone, the other group goes on."""
    harmed = {name: onboard(emulator, tmp_path, name, "plant-1") for name in ("pump-1", "pump-2")}
    spared = onboard(emulator, tmp_path, "pump-3", "plant-2")
    live = [hub_client(emulator, name, pair).connected() for name, pair in harmed.items()]
    other = hub_client(emulator, "pump-3", spared).connected()
    management.done("POST", f"{POLICIES}/plant-1/revokeIssuer")
    assert all(each.wait_closed() for each in live)
    for name, pair in harmed.items():
        assert hub_client(emulator, name, pair).connect() == 5
    other.send_telemetry({"undisturbed": True})
    assert other.is_connected
    other.close()
    hub_client(emulator, "pump-3", spared).connected().close()
    back = onboard(emulator, tmp_path / "back", "pump-1", "plant-1")
    assert back.leaf.issuer == harmed["pump-1"].leaf.issuer
    assert back.chain[1] != harmed["pump-1"].chain[1]
    hub_client(emulator, "pump-1", back).connected().close()


def test_leaves_of_a_deleted_policy_live_on_and_no_more_are_issued(
    emulator: RunningEmulator, management: Management, tmp_path: Path
) -> None:
    """Deletion is no revocation; a policy made anew under the same name has another issuing CA."""
    pair = onboard(emulator, tmp_path, "pump")
    management.done("DELETE", f"{POLICIES}/plant-1")
    with hub_client(emulator, "pump", pair).connected() as hub:
        hub.send_telemetry({"still": "here"})
    assert register(emulator, "pump", "plant-1", {"csr": csr_text("pump", p256())}).body["status"] == "failed"
    management.done("PUT", f"{POLICIES}/plant-1", {})
    again = onboard(emulator, tmp_path / "again", "pump")
    assert again.chain[1] != pair.chain[1]
    for each in (pair, again):
        hub_client(emulator, "pump", each).connected().close()


def test_credential_is_deleted_last(management: Management) -> None:
    """Its policies first: the refusal names them."""
    credential = "namespaces/works/credentials/default"
    refused = management.ask("DELETE", credential)
    assert (refused.status, refused.code) == (409, "CredentialHasPolicies")
    assert "plant-1, plant-2" in refused.message
    for policy in ("plant-1", "plant-2"):
        management.done("DELETE", f"{POLICIES}/{policy}")
    assert management.done("DELETE", credential).status == 202
    assert management.ask("GET", credential).status == 404
    refused = management.ask("PUT", f"{POLICIES}/plant-3", {})
    assert (refused.status, refused.code) == (404, "ResourceNotFound")


def test_revoked_leaf_does_not_get_in_through_a_root_registered_on_the_hub(
    emulator: RunningEmulator, management: Management, tmp_path: Path
) -> None:
    """Whoever uploads the namespace's root to a hub opens no way round revocation."""
    pair = onboard(emulator, tmp_path, "pump")
    root = tmp_path / "root.pem"
    root.write_bytes(pem_of(pair.chain[2]))
    assert emulator.stop() == 0
    config = TWO_PLANTS.replace("{namespace: works}", f"{{namespace: works, ca_certificates: [{root}]}}")
    again = start_emulator(tmp_path, config=config)
    try:
        hub_client(again, "pump", pair).connected().close()
        Management(again).done("POST", f"{POLICIES}/plant-1/revokeIssuer")
        assert hub_client(again, "pump", pair).connect() == 5
        again.wait_for_log("device pump: refused", "issuing CA plant-1", "which is revoked")
    finally:
        again.stop()


# --- what others can check: revocation lists and issuers' certificates


def test_lists_and_issuers_are_where_certificates_say_and_openssl_agrees(
    emulator: RunningEmulator, management: Management, tmp_path: Path
) -> None:
    """Good, then the leaf revoked, then its issuing CA on the root's list, with reasons and rising numbers."""
    pair = onboard(emulator, tmp_path, "pump")
    bystander = onboard(emulator, tmp_path, "valve")
    assert "leaf.pem: OK" in verify_with_lists(tmp_path, pair.chain)
    shown = openssl(tmp_path, "crl", "-inform", "DER", "-in", "0.crl", "-noout", "-text", "-crlnumber")
    assert "crlNumber=0x01" in shown
    assert "No Revoked Certificates" in shown

    management.done("POST", "namespaces/works/devices/pump/revoke")
    said = verify_with_lists(tmp_path, pair.chain)
    assert "certificate revoked" in said
    assert "error 23 at 0 depth" in said
    shown = openssl(tmp_path, "crl", "-inform", "DER", "-in", "0.crl", "-noout", "-text", "-crlnumber")
    assert "crlNumber=0x02" in shown
    assert f"{pair.leaf.serial_number:X}" in shown
    assert "Key Compromise" in shown
    assert "leaf.pem: OK" in verify_with_lists(tmp_path, bystander.chain)

    management.done("POST", f"{POLICIES}/plant-1/revokeIssuer")
    said = verify_with_lists(tmp_path, bystander.chain)
    assert "error 23 at 1 depth" in said
    shown = openssl(tmp_path, "crl", "-inform", "DER", "-in", "1.crl", "-noout", "-text")
    assert "CA Compromise" in shown
    assert f"{bystander.chain[1].serial_number:X}" in shown
    assert "leaf.pem: OK" in verify_with_lists(tmp_path, onboard(emulator, tmp_path / "new", "pump").chain)


def test_list_is_fresh_by_the_emulators_clock(
    emulator: RunningEmulator, management: Management, tmp_path: Path
) -> None:
    """Two days later there is another list, and it is valid then."""
    leaf = onboard(emulator, tmp_path, "pump").leaf
    url = url_in(leaf, x509.CRLDistributionPoints)
    before = x509.load_der_x509_crl(fetch(url))
    assert fetch(url) == before.public_bytes(Encoding.DER)
    assert emulator.cli("clock", "advance", "2d").returncode == 0
    after = x509.load_der_x509_crl(fetch(url))
    assert after.last_update_utc > before.next_update_utc
    numbers = [each.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for each in (before, after)]
    assert numbers == [1, 2]


@pytest.mark.parametrize("path", ["/crl/nowhere.crl", "/crl/works/plant-9.crl", "/ca/works/plant-1.7.cer", "/ca/x.cer"])
def test_unknown_ca_is_not_found(emulator: RunningEmulator, path: str) -> None:
    """404 and a sentence."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetch(f"http://127.0.0.1:{emulator.control_port}{path}")
    assert refused.value.code == 404
    refused.value.close()


# --- bring your own root


def test_device_of_an_own_root_connects_and_the_root_is_its_owners_to_revoke(
    emulator: RunningEmulator, management: Management, tmp_path: Path
) -> None:
    """CSR out, signed chain in; leaves chain to the owner's root; revokeIssuer is refused, device revoke is not."""
    make_root(tmp_path)
    own = {"certificateAuthorityConfiguration": {"keyType": "ECC", "bringYourOwnRoot": {"enabled": True}}}
    made = management.done("PUT", f"{POLICIES}/own", {"properties": {"certificate": own}})
    configuration = made.document["properties"]["certificate"]["certificateAuthorityConfiguration"]
    assert configuration["bringYourOwnRoot"]["status"] == "PendingActivation"
    too_short = sign(tmp_path, configuration["bringYourOwnRoot"]["certificateSigningRequest"], days=100)
    refused = management.ask("POST", f"{POLICIES}/own/activateBringYourOwnRoot", {"certificateChain": too_short})
    assert (refused.status, refused.code) == (400, "InvalidCertificateChain")
    assert "at least 365 must be left" in refused.message
    chain = sign(tmp_path, configuration["bringYourOwnRoot"]["certificateSigningRequest"])
    management.done("POST", f"{POLICIES}/own/activateBringYourOwnRoot", {"certificateChain": chain})

    before = onboard(emulator, tmp_path, "pump")
    resource = {"resourceId": f"/x/{POLICIES}/own"}
    management.done("PATCH", "namespaces/works/devices/pump", {"properties": {"policy": resource}})
    key = p256()
    with hub_client(emulator, "pump", before).connected() as hub:
        hub.subscribe("$iothub/credentials/res/#")
        renewed = hub.renew(key)
    assert [each.issuer.rfc4514_string() for each in renewed] == ["CN=works own ICA", "CN=Own Root", "CN=Own Root"]
    for name, certificate in zip(("leaf", "ica", "root"), renewed, strict=True):
        (tmp_path / f"{name}.pem").write_bytes(pem_of(certificate))
    said = openssl(tmp_path, "verify", "-x509_strict", "-CAfile", "root.pem", "-untrusted", "ica.pem", "leaf.pem")
    assert "leaf.pem: OK" in said
    pair = Pair.write(tmp_path, "own", pem_of(*renewed), key_pem(key))
    live = hub_client(emulator, "pump", pair).connected()
    second = Management(emulator, SECOND)
    listed = second.done("GET", "namespaces/works/certificateAuthorities").document["value"]
    assert [each["name"] for each in listed] == ["default-root", "own", "plant-1", "plant-2"]
    assert listed[1]["properties"]["issuer"]["status"] == "Active"
    refused = management.ask("POST", f"{POLICIES}/own/revokeIssuer")
    assert (refused.status, refused.code) == (400, "InvalidCertificateAuthorityType")
    assert live.is_connected
    management.done("POST", "namespaces/works/devices/pump/revoke")
    assert live.wait_closed()
    assert hub_client(emulator, "pump", pair).connect() == 5


# --- who may ask


def test_management_asks_for_a_token_on_https(emulator: RunningEmulator) -> None:
    """Any bearer token will do, none will not."""
    refused = Management(emulator, token=None).ask("GET", "namespaces/works")
    assert (refused.status, refused.code) == (401, "AuthenticationFailed")
    assert Management(emulator).ask("GET", "namespaces/works").status == 200
