"""CAs through their states: made, activated, rotated, retired; revoking is in `test_adr_revocation.py`."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from adr.authority import AuthorityState, IssuingCa, hash_public_key
from adr.errors import (
    AuthorityExists,
    AuthorityHasPolicies,
    AuthorityIsManaged,
    AuthorityNotActive,
    AuthorityNotFound,
    CertificateChainInvalid,
    CredentialExists,
    CredentialHasPolicies,
    CredentialNotFound,
    IssuerExpired,
    NameInvalid,
    NamespaceNotEmpty,
    NamespaceNotFound,
    PolicyNotFound,
    PolicyRequiresIssuingCa,
)
from adr.issuance import KnownCertificate, parse_issued, thumbprint_of
from adr.registry import AdrRegistry
from adr.rotation import rotate_issuers
from certs.authority import CertificateAuthority
from certs.csr import CertificateRequest
from certs.identifier import device_identifier
from certs.keyfile import MemoryKeyStore
from certs.keys import KeyType, generate_key
from certs.profiles import ONBOARDING_ROOT
from emulator.store import SqliteStore

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
OWNER = CertificateAuthority.create_root("Own Root", NOW, profile=ONBOARDING_ROOT)
DEVICE_KEY = generate_key(KeyType.P256).public_key()


@pytest.fixture
def adr() -> AdrRegistry:
    registry = AdrRegistry(SqliteStore(":memory:"), MemoryKeyStore(), public_url="http://ca.example")
    registry.create_namespace("works", NOW)
    return registry


def sign(pending: IssuingCa, now: datetime = NOW, days: int = 400) -> x509.Certificate:
    """What the owner of an external root makes of the CSR."""
    assert pending.request is not None
    request = x509.load_pem_x509_csr(pending.request.encode())
    builder = x509.CertificateBuilder(
        issuer_name=OWNER.certificate.subject, subject_name=request.subject, public_key=request.public_key(),
        serial_number=x509.random_serial_number(), not_valid_before=now - DAY, not_valid_after=now + days * DAY,
        extensions=list(request.extensions),
    )  # fmt: skip
    identifier = x509.SubjectKeyIdentifier.from_public_key(request.public_key())
    return builder.add_extension(identifier, critical=False).sign(OWNER.key, hashes.SHA384())


def activate(adr: AdrRegistry, name: str, now: datetime = NOW) -> IssuingCa:
    pending = adr.authorities.pending("works", name)
    assert pending is not None
    return adr.authorities.activate("works", name, (sign(pending, now), OWNER.certificate), now)


def issue(adr: AdrRegistry, policy: str, now: datetime = NOW) -> tuple[str, ...]:
    adr.register_device("works", "pump", policy, now)
    return adr.issue("works", "pump", CertificateRequest("pump", DEVICE_KEY, b""), now).base64_der()


class TestCredential:
    def test_namespace_can_begin_without_one(self, adr: AdrRegistry) -> None:
        adr.create_namespace("bare", NOW, credential=False)
        with pytest.raises(CredentialNotFound, match="'bare' has no credential"):
            adr.root("bare")
        with pytest.raises(CredentialNotFound):
            adr.create_policy("bare", "default", NOW)
        assert adr.create_credential("bare", NOW, "own-root").name == "own-root"
        assert adr.create_policy("bare", "default", NOW).authority == "default"

    def test_second_one_is_refused(self, adr: AdrRegistry) -> None:
        with pytest.raises(CredentialExists, match="has its root CA 'default-root' already"):
            adr.create_credential("works", NOW)
        with pytest.raises(NamespaceNotFound):
            adr.create_credential("lab", NOW)
        with pytest.raises(NameInvalid):
            adr.create_credential("works", NOW, "x")

    def test_it_is_deleted_after_its_policies_and_the_next_has_another_key(self, adr: AdrRegistry) -> None:
        adr.create_policy("works", "plant-1", NOW)
        adr.create_issuing_ca("works", "spare-ca", NOW)
        with pytest.raises(CredentialHasPolicies, match="its policies and issuing CAs: plant-1, spare-ca"):
            adr.delete_credential("works")
        adr.delete_policy("works", "plant-1", NOW)
        adr.delete_issuing_ca("works", "spare-ca", NOW)
        former = adr.credential("works")
        adr.delete_credential("works")
        with pytest.raises(CredentialNotFound):
            adr.delete_credential("works")
        following = adr.create_credential("works", NOW)
        assert (former.generation, following.generation) == (1, 2)
        assert former.key_name != following.key_name
        assert former.certificate.public_key() != following.certificate.public_key()
        assert [each.is_deleted for each in adr.authorities.roots("works")] == [True, False]

    def test_namespace_is_deleted_when_it_is_empty(self, adr: AdrRegistry) -> None:
        adr.create_policy("works", "plant-1", NOW)
        with pytest.raises(NamespaceNotEmpty):
            adr.delete_namespace("works")
        adr.delete_policy("works", "plant-1", NOW)
        adr.register_device("works", "pump", None, NOW)
        with pytest.raises(NamespaceNotEmpty):
            adr.delete_namespace("works")
        adr.devices.delete("works", "pump")
        adr.delete_namespace("works")
        with pytest.raises(NamespaceNotFound):
            adr.delete_namespace("works")
        adr.create_namespace("works", NOW, credential=False)
        adr.delete_namespace("works")


class TestManaged:
    def test_certificate_says_where_its_issuer_and_its_list_are(self, adr: AdrRegistry) -> None:
        made = adr.create_issuing_ca("works", "Plant-CA", NOW)
        extensions = made.signed.extensions
        (point,) = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        (access,) = extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        assert [each.value for each in point.full_name or []] == ["http://ca.example/crl/works.1.crl"]
        assert access.access_location.value == "http://ca.example/ca/works.1.cer"
        assert adr.urls.revocation_list(made) == "http://ca.example/crl/works/Plant-CA.1.crl"

    def test_name_is_taken_by_another_ca_or_the_root(self, adr: AdrRegistry) -> None:
        adr.create_issuing_ca("works", "plant-ca", NOW)
        for name in ("PLANT-CA", "default-root"):
            with pytest.raises(AuthorityExists):
                adr.create_issuing_ca("works", name, NOW)
        with pytest.raises(AuthorityExists):
            adr.create_policy("works", "plant-ca", NOW)
        with pytest.raises(NameInvalid, match="3 to 63"):
            adr.create_issuing_ca("works", "x" * 64, NOW)
        with pytest.raises(NamespaceNotFound):
            adr.create_issuing_ca("lab", "plant-ca", NOW)

    def test_several_policies_share_an_issuing_ca(self, adr: AdrRegistry) -> None:
        adr.create_issuing_ca("works", "plant-ca", NOW)
        for name, days in (("fast", 7), ("slow", 90)):
            adr.create_policy("works", name, NOW, authority="PLANT-CA", leaf_validity=days * DAY)
        assert [each.name for each in adr.policies_of("works", "Plant-CA")] == ["fast", "slow"]
        assert adr.issuing_ca("works", "fast") == adr.issuing_ca("works", "slow")
        with pytest.raises(AuthorityHasPolicies, match="fast, slow"):
            adr.delete_issuing_ca("works", "plant-ca", NOW)

    def test_policy_needs_an_issuing_ca_that_is_there_and_is_no_root(self, adr: AdrRegistry) -> None:
        with pytest.raises(PolicyRequiresIssuingCa, match="under the root 'Default-Root'"):
            adr.create_policy("works", "plant-1", NOW, authority="Default-Root")
        with pytest.raises(AuthorityNotFound):
            adr.create_policy("works", "plant-1", NOW, authority="nothing")
        assert adr.policies("works") == []

    def test_deleted_policy_takes_its_issuing_ca_along_unless_that_has_others(self, adr: AdrRegistry) -> None:
        adr.create_policy("works", "plant-1", NOW)
        adr.create_policy("works", "plant-2", NOW, authority="plant-1")
        adr.delete_policy("works", "plant-1", NOW)
        assert [each.state for each in adr.authorities.generations("works")] == [AuthorityState.ACTIVE]
        adr.delete_policy("works", "plant-2", NOW)
        assert [each.state for each in adr.authorities.generations("works")] == [AuthorityState.RETIRED]
        assert len(adr.trust_anchors("works")) == 1
        with pytest.raises(AuthorityNotFound):
            adr.authorities.current("works", "plant-1")
        with pytest.raises(PolicyNotFound):
            adr.delete_policy("works", "plant-1", NOW)

    def test_policy_deleted_alone_leaves_its_issuing_ca(self, adr: AdrRegistry) -> None:
        adr.create_policy("works", "plant-1", NOW)
        adr.delete_policy("works", "plant-1", NOW, keep_authority=True)
        assert adr.authorities.current("works", "plant-1").state is AuthorityState.ACTIVE
        assert [each.name for each in adr.authorities.all_current("works")] == ["plant-1"]

    def test_nothing_is_activated_where_nothing_waits(self, adr: AdrRegistry) -> None:
        adr.create_policy("works", "plant-1", NOW)
        with pytest.raises(AuthorityIsManaged, match="waits for no signed certificate"):
            adr.authorities.activate("works", "plant-1", (), NOW)
        with pytest.raises(AuthorityNotFound):
            adr.authorities.activate("works", "plant-2", (), NOW)


class TestExternal:
    def test_it_issues_after_activation_and_not_before(self, adr: AdrRegistry) -> None:
        adr.create_policy("works", "own", NOW, external=True)
        pending = adr.issuing_ca("works", "own")
        assert (pending.state, pending.is_external, pending.certificate) == (AuthorityState.PENDING, True, None)
        with pytest.raises(AuthorityNotActive):
            issue(adr, "own")
        assert adr.trust_anchors("works") == ()
        active = activate(adr, "own")
        assert (active.state, active.request, active.issuers) == (AuthorityState.ACTIVE, None, (OWNER.certificate,))
        assert adr.trust_anchors("works") == (active.signed,)
        assert len(issue(adr, "own")) == 3

    def test_chain_without_its_root_gives_devices_two_certificates(self, adr: AdrRegistry) -> None:
        adr.create_policy("works", "own", NOW, external=True)
        pending = adr.issuing_ca("works", "own")
        adr.authorities.activate("works", "own", (sign(pending),), NOW)
        assert len(issue(adr, "own")) == 2

    def test_chain_that_breaks_a_rule_activates_nothing(self, adr: AdrRegistry) -> None:
        adr.create_policy("works", "own", NOW, external=True)
        pending = adr.issuing_ca("works", "own")
        with pytest.raises(CertificateChainInvalid, match="at least 365 must be left"):
            adr.authorities.activate("works", "own", (sign(pending, days=100),), NOW)
        assert adr.issuing_ca("works", "own") == pending

    def test_owner_is_asked_once_before_it_expires_and_the_former_lives_on(self, adr: AdrRegistry) -> None:
        adr.create_policy("works", "own", NOW, external=True)
        first = activate(adr, "own")
        later = NOW + 350 * DAY
        (asked,) = rotate_issuers(adr, later)
        assert asked.state is AuthorityState.PENDING
        assert rotate_issuers(adr, later) == []
        assert adr.authorities.request_renewal(first, later) == asked
        assert adr.issuing_ca("works", "own") == first  # it still issues
        second = activate(adr, "own", later)
        assert (second.generation, adr.issuing_ca("works", "own")) == (2, second)
        assert set(adr.trust_anchors("works")) == {first.signed, second.signed}

    def test_deleted_while_it_waits_it_leaves_nothing(self, adr: AdrRegistry) -> None:
        adr.create_policy("works", "own", NOW, external=True)
        adr.delete_policy("works", "own", NOW)
        assert adr.authorities.generations("works") == []

    def test_expired_external_issuing_ca_issues_nothing(self, adr: AdrRegistry) -> None:
        adr.create_policy("works", "own", NOW, external=True)
        activate(adr, "own")
        with pytest.raises(IssuerExpired):
            issue(adr, "own", NOW + 500 * DAY)

    def test_namespace_without_a_root_rotates_nothing(self, adr: AdrRegistry) -> None:
        adr.create_namespace("bare", NOW, credential=False)
        assert rotate_issuers(adr, NOW) == []


class TestFind:
    def test_ca_is_known_by_its_key_in_every_state_and_namespace(self, adr: AdrRegistry) -> None:
        adr.create_namespace("lab", NOW)
        for namespace in ("works", "lab"):
            adr.create_policy(namespace, "plant-1", NOW)
        former = adr.issuing_ca("lab", "plant-1")
        adr.revoke_issuing_ca("lab", "plant-1", NOW)
        found = adr.authorities.find(former.signed)
        assert found is not None
        assert (found.namespace, found.generation, found.state) == ("lab", 1, AuthorityState.REVOKED)

    def test_stranger_is_not_found(self, adr: AdrRegistry) -> None:
        adr.create_policy("works", "plant-1", NOW)
        assert adr.authorities.find(OWNER.certificate) is None
        assert adr.authorities.find(adr.root("works")) is None

    def test_ca_with_a_key_nobody_can_read_is_not_found(self, adr: AdrRegistry) -> None:
        key = ec.generate_private_key(ec.SECP256K1()).public_key()
        der = OWNER.issue_onboarding("x", key, NOW, validity=DAY).public_bytes(Encoding.DER)  # type: ignore[arg-type]
        unknown = x509.load_der_x509_certificate(der.replace(b"\x2b\x81\x04\x00\x0a", b"\x2b\x81\x04\x00\x7f"))
        assert adr.authorities.find(unknown) is None

    def test_certificate_that_was_issued_here_is_known_by_its_note(self, adr: AdrRegistry) -> None:
        adr.create_policy("works", "plant-1", NOW)
        adr.register_device("works", "pump", "plant-1", NOW)
        leaf = adr.issue("works", "pump", CertificateRequest("pump", DEVICE_KEY, b""), NOW).leaf
        thumbprint = thumbprint_of(leaf)
        issuer, identifier = adr.issuing_ca("works", "plant-1"), device_identifier(leaf)
        assert identifier is not None
        known = adr.known_certificate("works", "pump", leaf.serial_number, thumbprint)
        assert known == KnownCertificate(issuer, identifier)
        assert adr.known_certificate("works", "pump", leaf.serial_number, "AB") is None
        assert adr.known_certificate("works", "pump", 7, thumbprint) is None
        adr.revoke_device("works", "pump", NOW)
        again = adr.known_certificate("works", "pump", leaf.serial_number, thumbprint)
        assert again == known, "what it carries, not what the device has now"
        adr.revoke_issuing_ca("works", "plant-1", NOW)
        assert adr.known_certificate("works", "pump", leaf.serial_number, thumbprint) is None

    def test_note_of_an_earlier_hublet_does_not_say_the_identifier(self, adr: AdrRegistry) -> None:
        text = '{"policy": "p", "notAfter": "2026-12-01T00:00:00+00:00", "thumbprint": "AB", "issuer": "CD"}'
        assert parse_issued("works/pump/1f", text).identifier is None

    def test_devices_come_in_pages(self, adr: AdrRegistry) -> None:
        for number in range(5):
            adr.register_device("works", f"d{number}", None, NOW)
        first = adr.devices.page("works", limit=3)
        assert [each.device_id for each in first] == ["d0", "d1", "d2"]
        assert [each.device_id for each in adr.devices.page("works", "d2", 3)] == ["d3", "d4"]

    def test_only_a_public_key_has_a_hash(self) -> None:
        with pytest.raises(TypeError, match="a str is no public key"):
            hash_public_key("key")
