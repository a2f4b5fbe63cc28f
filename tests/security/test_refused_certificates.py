"""Credentials that are refused, over real sockets: why, said in the log, and without harm to the rightful device."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from adr.registry import AdrRegistry
from certs.authority import CertificateAuthority
from certs.identifier import device_identifier
from certs.keyfile import FileKeyStore
from emulator.state import StateDirectory
from emulator.store import SqliteStore
from hub.identity import DeviceStatus
from hub.registry import DeviceRegistry
from tests.conformance.plain_device import (
    Answer,
    DpsClient,
    HubClient,
    Pair,
    PlainClient,
    certificates_of,
    csr_text,
    derived_key,
    key_pem,
    p256,
    pem_of,
    sas_token,
    tls_context,
)
from tests.conformance.running_emulator import RunningEmulator, start_emulator

TWO_NAMESPACES = """
namespaces:
  north: {policies: {default: {}}}
  south: {policies: {default: {}}}
hubs:
  north-hub: {host_name: localhost, namespace: north}
  south-hub: {host_name: south.localhost, namespace: south}
dps:
  north-dps:
    namespace: north
    linked_hubs: [north-hub]
    enrollment_groups:
      factory: {ca: dev-ca, credential_policy: default}
      keys: {symmetric_key: generate, credential_policy: default}
  south-dps:
    namespace: south
    linked_hubs: [south-hub]
    enrollment_groups: {factory: {ca: dev-ca, credential_policy: default}}
"""
HOSTS = {"north": "localhost", "south": "south.localhost"}
RESULTS = "$iothub/credentials/res/#"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    """Two namespaces, each with its own hub and DPS."""
    running = start_emulator(tmp_path_factory.mktemp("two-namespaces"), config=TWO_NAMESPACES)
    yield running
    running.stop()


def dps_client(emulator: RunningEmulator, name: str, pair: Pair | None = None, **options: Any) -> DpsClient:
    scope = emulator.id_scope(options.pop("dps", "north-dps"))
    return DpsClient.make(emulator.mqtt_port, tls_context(emulator.ca_file, pair), scope, name, **options)


def hub_client(emulator: RunningEmulator, device: str, pair: Pair | None = None, **options: Any) -> HubClient:
    host = HOSTS[options.pop("namespace", "north")]
    return HubClient.make(emulator.mqtt_port, tls_context(emulator.ca_file, pair), host, device, **options)


def onboard(emulator: RunningEmulator, directory: Path, device: str, namespace: str = "north") -> Pair:
    """Give a device its operational certificate in the usual way."""
    key, onboarding = p256(), emulator.onboarding_pair(device, directory)
    with dps_client(emulator, device, onboarding, dps=f"{namespace}-dps").connected() as dps:
        answer = dps.onboard({"csr": csr_text(device, key)})
    assert answer.body["status"] == "assigned", answer
    chain = certificates_of(answer.state["issuedCertificateChain"])
    return Pair.write(directory, f"{device}.{namespace}", pem_of(*chain[:2]), key_pem(key))


@dataclass
class Victim:
    """A device in its rights: connected, subscribed, and not to be disturbed."""

    emulator: RunningEmulator
    pair: Pair
    hub: HubClient
    count: int = 0

    def assert_undisturbed(self) -> None:
        """Its connection, its subscription and its messages are what they were."""
        self.count += 1
        self.hub.send_telemetry({"count": self.count})
        assert len(self.hub.renew(p256())) == 3
        assert self.hub.is_connected
        assert [each["body"] for each in self.emulator.events("victim")] == [
            {"count": number} for number in range(1, self.count + 1)
        ]


@pytest.fixture(scope="module")
def victim(emulator: RunningEmulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    pair = onboard(emulator, tmp_path_factory.mktemp("victim"), "victim")
    with hub_client(emulator, "victim", pair, clean_session=False).connected() as hub:
        hub.subscribe(RESULTS)
        yield Victim(emulator, pair, hub)


@dataclass
class Forger:
    """Makes the pairs that ought to be refused; it got hold of the issuing CA's private key."""

    emulator: RunningEmulator
    directory: Path
    genuine: Pair

    def issuing_ca(self, namespace: str = "north") -> CertificateAuthority:
        certificate = x509.load_der_x509_certificate(self.emulator.get(f"/ca/{namespace}/default.cer"))
        key = FileKeyStore(StateDirectory(self.emulator.state_dir).keys).load(f"{namespace}.default.1")
        assert key is not None
        return CertificateAuthority(certificate, key)

    def operational(self, *, start: timedelta = timedelta(0), validity: timedelta = DAY, **changes: Any) -> Pair:
        """A leaf as the issuing CA would make it, but for what is named."""
        key, identifier = p256(), device_identifier(self.genuine.leaf)
        assert identifier is not None
        leaf = self.issuing_ca().issue_operational(
            "victim", key.public_key(), changes.get("identifier", identifier), datetime.now(UTC) + start,
            validity=validity, crl_url="http://crl.example/", issuer_url="http://ca.example/",
        )  # fmt: skip
        return Pair.write(self.directory, "forged", pem_of(leaf, self.issuing_ca().certificate), key_pem(key))

    def stranger(self) -> Pair:
        """A leaf of a CA that nobody knows."""
        now, key = datetime.now(UTC), p256()
        ca = CertificateAuthority.create_root("Stranger", now)
        leaf = ca.issue_onboarding("victim", key.public_key(), now, validity=DAY)
        return Pair.write(self.directory, "stranger", pem_of(leaf, ca.certificate), key_pem(key))

    def self_signed(self) -> Pair:
        now = datetime.now(UTC)
        ca = CertificateAuthority.create_root("victim", now)
        return Pair.write(self.directory, "self-signed", pem_of(ca.certificate), key_pem(ca.key))

    def wrong_key(self) -> Pair:
        """The genuine chain with a key file whose public half fits and whose private half does not."""
        public = self.genuine.leaf.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        private = p256().private_numbers().private_value.to_bytes(32, "big")
        der = bytes.fromhex("30770201010420") + private
        der += bytes.fromhex("a00a06082a8648ce3d030107a144034200") + point
        pem = ssl.DER_cert_to_PEM_cert(der).replace("CERTIFICATE", "EC PRIVATE KEY").encode()
        return Pair.write(self.directory, "wrong-key", self.genuine.chain_file.read_bytes(), pem)


@pytest.fixture
def forger(emulator: RunningEmulator, tmp_path: Path, victim: Victim) -> Forger:
    return Forger(emulator, tmp_path, victim.pair)


# --- at the hub ---

REFUSED: dict[str, tuple[Callable[[Forger], Pair | None], tuple[str, ...]]] = {
    "other namespace": (
        lambda forger: onboard(forger.emulator, forger.directory, "victim", "south"),
        ("south default ICA", "neither trusted"),
    ),
    "other device": (
        lambda forger: onboard(forger.emulator, forger.directory, "other"),
        ("certificate CN is 'other'", "must be exactly 'victim'"),
    ),
    "expired": (lambda forger: forger.operational(validity=-timedelta(minutes=1)), ("CN=victim", "expired")),
    "not yet valid": (lambda forger: forger.operational(start=10 * DAY), ("CN=victim", "not valid before")),
    "revoked": (lambda forger: forger.operational(identifier=uuid4()), ("was revoked", "device identifier")),
    "self-signed": (lambda forger: forger.self_signed(), ("CN=victim", "is self-signed and not trusted")),
    "onboarding": (
        lambda forger: forger.emulator.onboarding_pair("victim", forger.directory),
        ("hublet development CA", "0 CA certificate(s) registered"),
    ),
    "stranger": (lambda forger: forger.stranger(), ("CN=Stranger", "not trusted")),
    "none": (lambda _forger: None, ("presented no certificate",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_certificate_that_is_not_the_devices_own_is_refused(
    emulator: RunningEmulator, victim: Victim, forger: Forger, case: str
) -> None:
    """CONNACK 5, a line in the log that says why, and the rightful device notices nothing."""
    make, words = REFUSED[case]
    pair = make(forger)
    since = emulator.log_end()
    for clean_session in (True, False):
        intruder = hub_client(emulator, "victim", pair, clean_session=clean_session)
        assert intruder.connect() == 5
        assert not intruder.session_present
    emulator.wait_for_log("device victim: refused by hub north-hub", *words, since=since)
    victim.assert_undisturbed()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_wrong_private_key_ends_in_the_handshake(
    emulator: RunningEmulator, victim: Victim, forger: Forger, version: ssl.TLSVersion
) -> None:
    """Who cannot sign with the certificate's key does not get as far as CONNECT."""
    context = tls_context(emulator.ca_file, forger.wrong_key())
    context.minimum_version = context.maximum_version = version
    since = emulator.log_end()
    with (
        socket.create_connection(("localhost", emulator.mqtt_port)) as tcp,
        pytest.raises((ssl.SSLError, ConnectionError)),
        context.wrap_socket(tcp, server_hostname="localhost") as tls,
    ):
        tls.recv(1)  # with TLS 1.3 a client is done before the server has checked
    emulator.wait_for_log("TLS handshake failed", "signature", since=since)
    victim.assert_undisturbed()


def test_refused_client_does_not_take_a_sleeping_devices_session(
    emulator: RunningEmulator, forger: Forger, tmp_path: Path
) -> None:
    """A subscription that waits for its device survives what others try in the meantime."""
    pair = onboard(emulator, tmp_path, "sleeper")
    with hub_client(emulator, "sleeper", pair, clean_session=False).connected() as hub:
        hub.subscribe(RESULTS)
    assert hub_client(emulator, "sleeper", forger.self_signed()).connect() == 5
    with hub_client(emulator, "sleeper", pair, clean_session=False).connected() as hub:
        assert hub.session_present
        assert len(hub.renew(p256())) == 3


def test_rightful_second_connection_takes_over(emulator: RunningEmulator, tmp_path: Path) -> None:
    """What an intruder may not, the device may: the newer connection ends the older one."""
    pair = onboard(emulator, tmp_path, "twice")
    first = hub_client(emulator, "twice", pair).connected()
    with hub_client(emulator, "twice", pair).connected() as second:
        assert first.wait_closed()
        second.send_telemetry({"second": True})


def test_device_registered_by_thumbprint_is_refused_with_another_leaf(
    emulator: RunningEmulator, tmp_path: Path
) -> None:
    """Without a CSR the hub knows one leaf, not its CA."""
    registered = emulator.onboarding_pair("thumb", tmp_path / "registered")
    with dps_client(emulator, "thumb", registered).connected() as dps:
        assert dps.onboard({}).body["status"] == "assigned"
    hub_client(emulator, "thumb", registered).connected().close()
    since = emulator.log_end()
    assert hub_client(emulator, "thumb", emulator.onboarding_pair("thumb", tmp_path)).connect() == 5
    emulator.wait_for_log("device thumb: refused", "Thumbprint does not match configuration", since=since)


def test_unknown_device_is_refused(emulator: RunningEmulator, victim: Victim) -> None:
    """A good certificate is no use for a device that the hub does not have."""
    since = emulator.log_end()
    assert hub_client(emulator, "nobody", victim.pair).connect() == 5
    emulator.wait_for_log("device nobody: refused", "'nobody' is not registered in hub north-hub", since=since)


def test_certificate_of_another_namespace_opens_only_its_own_hub(emulator: RunningEmulator, tmp_path: Path) -> None:
    """The same device ID in two namespaces is two devices."""
    north, south = (onboard(emulator, tmp_path, "double", namespace) for namespace in HOSTS)
    for namespace, own, foreign in (("north", north, south), ("south", south, north)):
        hub_client(emulator, "double", own, namespace=namespace).connected().close()
        assert hub_client(emulator, "double", foreign, namespace=namespace).connect() == 5


def test_disabled_and_revoked_devices_are_refused(tmp_path: Path) -> None:
    """Disabled in the hub, disabled in the namespace, or revoked there: refused, each for its own reason."""
    emulator = start_emulator(tmp_path, config=TWO_NAMESPACES)
    devices = ("off-in-hub", "off-in-adr", "revoked", "untouched")
    pairs = {device: onboard(emulator, tmp_path, device) for device in devices}
    assert emulator.stop() == 0
    _disable(emulator.state_dir)
    emulator = start_emulator(tmp_path, config=TWO_NAMESPACES)
    try:
        for device, words in (
            ("off-in-hub", "off-in-hub is disabled in hub north-hub: stolen"),
            ("off-in-adr", "off-in-adr is disabled in namespace north"),
            ("revoked", "was revoked"),
        ):
            assert hub_client(emulator, device, pairs[device]).connect() == 5
            emulator.wait_for_log(f"device {device}: refused", words)
        hub_client(emulator, "untouched", pairs["untouched"]).connected().close()
    finally:
        emulator.stop()


def _disable(state_dir: Path) -> None:
    """Do to a stopped emulator's state what the service APIs will do."""
    now, state = datetime.now(UTC), StateDirectory(state_dir)
    with SqliteStore(state.database) as store:
        registry, adr = DeviceRegistry(store, "north-hub"), AdrRegistry(store, FileKeyStore(state.keys))
        identity = registry.get("off-in-hub")
        assert identity is not None
        registry.update(replace(identity, status=DeviceStatus.DISABLED, status_reason="stolen"), now)
        adr.revoke_device("north", "off-in-adr", now, disable=True)
        adr.revoke_device("north", "revoked", now)
        store.commit()


# --- at DPS ---


def assert_refused_at_register(answer: Answer, code: int, message: str) -> None:
    assert answer.status == code // 1000
    assert answer.body["errorCode"] == code
    assert answer.body["message"] == message
    assert set(answer.body) == {"errorCode", "trackingId", "message", "timestampUtc"}


def test_chain_of_an_unknown_ca_is_answered_at_register(emulator: RunningEmulator, forger: Forger) -> None:
    """CONNACK 0, then 401002: whether a certificate fits an enrollment is found out at register."""
    since = emulator.log_end()
    with dps_client(emulator, "victim", forger.stranger()).connected() as dps:
        answer = dps.register({"csr": csr_text("victim", p256())})
        assert_refused_at_register(answer, 401002, "CA certificate not found.")
        assert dps.is_connected
    emulator.wait_for_log("device victim", "401002", str(answer.body["trackingId"]), "Stranger", since=since)


def test_device_that_registers_under_anothers_id_is_refused(
    emulator: RunningEmulator, victim: Victim, tmp_path: Path
) -> None:
    """Its own certificate, good as it is, names another device."""
    since = emulator.log_end()
    pair = emulator.onboarding_pair("other", tmp_path)
    with dps_client(emulator, "victim", pair).connected() as dps:
        assert_refused_at_register(dps.register({"csr": csr_text("victim", p256())}), 401002, "Invalid certificate.")
    emulator.wait_for_log("device victim", "common name is 'other'", "'victim'", since=since)
    victim.assert_undisturbed()


def test_expired_onboarding_certificate_is_answered_at_register(emulator: RunningEmulator, forger: Forger) -> None:
    now, key = datetime.now(UTC), p256()
    certificate = x509.load_pem_x509_certificates((emulator.state_dir / "dev-ca.pem").read_bytes())[0]
    ca_key = FileKeyStore(StateDirectory(emulator.state_dir).keys).load("dev-ca-intermediate")
    assert ca_key is not None
    ca = CertificateAuthority(certificate, ca_key)
    leaf = ca.issue_onboarding("victim", key.public_key(), now, validity=-timedelta(minutes=1))
    pair = Pair.write(forger.directory, "expired", pem_of(leaf, certificate), key_pem(key))
    since = emulator.log_end()
    with dps_client(emulator, "victim", pair).connected() as dps:
        assert_refused_at_register(dps.register({}), 401002, "Invalid certificate.")
    emulator.wait_for_log("device victim", "expired", since=since)


@pytest.mark.parametrize("key_of", ["nobody", "another device"])
def test_wrong_symmetric_key_is_answered_at_register(emulator: RunningEmulator, key_of: str) -> None:
    """A token signed by another key, be it a sibling's, gives 401000 and says no more."""
    group_key = emulator.group_key("north-dps")
    stolen = {"nobody": ("A" * 86 + "==", "keyed"), "another device": (group_key, "sibling")}
    key = derived_key(*stolen[key_of])
    since = emulator.log_end()
    with dps_client(emulator, "keyed", symmetric_key=key).connected() as dps:
        assert_refused_at_register(dps.register({}), 401000, "Unauthorized")
    line = emulator.wait_for_log("device keyed", "401000", since=since)
    assert key not in line


def test_no_credential_is_answered_at_register(emulator: RunningEmulator) -> None:
    with dps_client(emulator, "bare").connected() as dps:
        assert_refused_at_register(dps.register({}), 401000, "Unauthorized")
    emulator.wait_for_log("device bare", "neither a SAS token nor a client certificate")


def test_expired_token_is_refused_at_connect(emulator: RunningEmulator) -> None:
    """What no register could make right is refused with CONNACK 5."""
    scope = emulator.id_scope("north-dps")
    key = derived_key(emulator.group_key("north-dps"), "late")
    token = sas_token(f"{scope}/registrations/late", key, expires_at=int(time.time()) - 60, policy="registration")
    user_name = f"{scope}/registrations/late/api-version=2019-03-31"
    since = emulator.log_end()
    client = PlainClient(emulator.mqtt_port, tls_context(emulator.ca_file), "late", user_name, token)
    assert client.connect() == 5
    emulator.wait_for_log("late", "the token expired at", since=since)


@pytest.mark.parametrize(
    ("user_name", "words"),
    [
        ("0ne00000BAD/registrations/lost/api-version=2019-03-31", "no DPS instance has the ID scope '0ne00000BAD'"),
        ("{scope}/registrations/lost", "api-version"),
        ("{scope}/lost/api-version=2019-03-31", "registrations"),
        ("{scope}/registrations/somebody/api-version=2019-03-31", "'lost' is not the registration ID"),
        ("nonsense", "neither"),
        ("", "neither"),
        ("elsewhere.example/lost/?api-version=2021-04-12", "no hub has the host name 'elsewhere.example'"),
        ("localhost/victim/?api-version=2021-04-12", "client ID 'lost' is not 'victim'"),
    ],
    ids=["scope", "no-version", "no-registrations", "client-id", "nonsense", "empty", "host", "hub-client-id"],
)
def test_bad_user_name_is_refused_at_connect(emulator: RunningEmulator, user_name: str, words: str) -> None:
    scoped = user_name.format(scope=emulator.id_scope("north-dps"))
    since = emulator.log_end()
    assert PlainClient(emulator.mqtt_port, tls_context(emulator.ca_file), "lost", scoped).connect() == 5
    emulator.wait_for_log("lost", words, since=since)


def test_operation_of_another_device_does_not_exist(emulator: RunningEmulator, tmp_path: Path) -> None:
    """Nobody can fetch another device's certificate chain by its operation ID."""
    with dps_client(emulator, "owner", emulator.onboarding_pair("owner", tmp_path)).connected() as dps:
        operation = dps.register({"csr": csr_text("owner", p256())}).body["operationId"]
    with dps_client(emulator, "thief", emulator.onboarding_pair("thief", tmp_path)).connected() as dps:
        assert_refused_at_register(dps.poll(operation), 404204, "Operation not found")


# --- topics ---


@pytest.mark.parametrize(
    "topic",
    ["devices/victim/messages/events/", "devices/victim/messages/devicebound/", "$SYS/broker", "anything"],
)
def test_publish_outside_the_own_topics_closes_the_connection(
    emulator: RunningEmulator, victim: Victim, tmp_path: Path, topic: str
) -> None:
    pair = onboard(emulator, tmp_path, "intruder")
    since = emulator.log_end()
    intruder = hub_client(emulator, "intruder", pair).connected()
    intruder.publish_and_forget(topic, b"{}")
    assert intruder.wait_closed()
    emulator.wait_for_log("intruder", topic, since=since)
    victim.assert_undisturbed()


@pytest.mark.parametrize("topic_filter", ["devices/victim/messages/devicebound/#", "#", "devices/+/messages/events/#"])
def test_subscription_outside_the_own_topics_closes_the_connection(
    emulator: RunningEmulator, victim: Victim, tmp_path: Path, topic_filter: str
) -> None:
    intruder = hub_client(emulator, "intruder", onboard(emulator, tmp_path, "intruder")).connected()
    since = emulator.log_end()
    intruder.subscribe_and_forget(topic_filter)
    assert intruder.wait_closed()
    emulator.wait_for_log("intruder", "may not subscribe", topic_filter, since=since)
    victim.assert_undisturbed()


def test_renewal_for_another_device_is_refused(emulator: RunningEmulator, tmp_path: Path) -> None:
    """A certificate request names its own device and has that device's common name in the CSR."""
    pair = onboard(emulator, tmp_path, "intruder")
    with hub_client(emulator, "intruder", pair).connected() as hub:
        hub.subscribe(RESULTS)
        assert hub.request_certificate(csr_text("victim", p256())).status == 202
        refused = hub.answer()
        assert (refused.status, refused.body["errorCode"]) == (400, 400040)
        hub.device_id = "victim"
        refused = hub.request_certificate(csr_text("victim", p256()))
        assert (refused.status, refused.body["errorCode"]) == (400, 400004)


def test_dps_is_no_broker(emulator: RunningEmulator, tmp_path: Path) -> None:
    """Topics other than its own close a connection to DPS too."""
    pair = emulator.onboarding_pair("chatty", tmp_path)
    publisher = dps_client(emulator, "chatty", pair).connected()
    publisher.publish_and_forget("devices/chatty/messages/events/", b"{}")
    assert publisher.wait_closed()
    subscriber = dps_client(emulator, "chatty", pair).connected()
    subscriber.subscribe_and_forget("$dps/registrations/#")
    assert subscriber.wait_closed()
