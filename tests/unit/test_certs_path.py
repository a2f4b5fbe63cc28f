"""Path validation: what is accepted, and that each refusal names the right rule and certificate."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from certs.authority import CertificateAuthority
from certs.extensions import common_name_of, load_certificate
from certs.keys import KeyType, generate_key, signature_hash
from certs.path import (
    MAX_INTERMEDIATES,
    MAX_PATHS,
    PathError,
    PathRefusal,
    ValidPath,
    issued_by,
    validate_path,
    walk_issuers,
)
from certs.profiles import ISSUING_CA, ONBOARDING_ROOT, OPERATIONAL_LEAF, Profile

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "certs_chains.json").read_text())
KEY = generate_key(KeyType.P256)
ANY_LENGTH = Profile("CA of any length", ca=True, path_length=None, key_usage=ONBOARDING_ROOT.key_usage)
CA = x509.BasicConstraints(ca=True, path_length=None)


def root_ca(name: str = "root", **options: object) -> CertificateAuthority:
    return CertificateAuthority.create_root(name, NOW, **{"key_type": KeyType.P256, "profile": ANY_LENGTH} | options)


def under(ca: CertificateAuthority, name: str, **options: object) -> CertificateAuthority:
    return ca.issue_intermediate(name, NOW, **{"key_type": KeyType.P256, "profile": ANY_LENGTH} | options)


def leaf_of(ca: CertificateAuthority, name: str = "sensor-001", validity: timedelta = 30 * DAY) -> x509.Certificate:
    return ca.issue_onboarding(name, KEY.public_key(), NOW, validity=validity)


def chain_of(length: int) -> list[CertificateAuthority]:
    """A root and `length` CAs below it, root first."""
    cas = [root_ca()]
    for number in range(length):
        cas.append(under(cas[-1], f"intermediate {number}"))
    return cas


def handmade(
    subject: str,
    issuer: str,
    key: object,
    signer: object,
    *extensions: tuple[x509.ExtensionType, bool],
    start: datetime = NOW - DAY,
    end: datetime = NOW + DAY,
) -> x509.Certificate:
    """A certificate with these extensions and no others."""
    builder = x509.CertificateBuilder(
        issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=start,
        not_valid_after=end,
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else signature_hash(signer)
    return builder.sign(signer, algorithm)


def key_identifier(key: object) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key())


def authority(identifier: x509.SubjectKeyIdentifier) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def assert_path(result: ValidPath | PathRefusal, *certificates: x509.Certificate) -> None:
    assert isinstance(result, ValidPath), result
    assert result.certificates == certificates
    assert result.anchor == certificates[-1]


def assert_refused(result: ValidPath | PathRefusal, error: PathError, *words: str) -> None:
    assert isinstance(result, PathRefusal), result
    assert result.error is error, result
    for word in words:
        assert word in result.detail


def serial_of(certificate: x509.Certificate) -> str:
    return f"{certificate.serial_number:x}"


class TestValid:
    def test_path_ends_at_the_root(self):
        root, ica = chain_of(1)
        leaf = leaf_of(ica)
        result = validate_path(leaf, [ica.certificate], [root.certificate], NOW)
        assert_path(result, leaf, ica.certificate, root.certificate)

    @pytest.mark.parametrize("presented", [0, 1, 2])
    def test_path_ends_at_an_intermediate_that_is_trusted(self, presented):
        root, ica = chain_of(1)
        leaf = leaf_of(ica)
        sent = [ica.certificate, root.certificate][:presented]
        assert_path(validate_path(leaf, sent, [ica.certificate], NOW), leaf, ica.certificate)

    def test_root_and_intermediate_are_both_trusted(self):
        root, ica = chain_of(1)
        leaf = leaf_of(ica)
        anchors = [root.certificate, ica.certificate]
        assert_path(validate_path(leaf, [ica.certificate], anchors, NOW), leaf, ica.certificate)

    def test_order_of_intermediates_does_not_matter(self):
        root, first, second, third = chain_of(3)
        leaf = leaf_of(third)
        sent = [first.certificate, third.certificate, second.certificate]
        result = validate_path(leaf, sent, [root.certificate], NOW)
        assert_path(result, leaf, third.certificate, second.certificate, first.certificate, root.certificate)

    def test_unrelated_certificates_are_ignored(self):
        root, ica = chain_of(1)
        leaf = leaf_of(ica)
        other = root_ca("other")
        sent = [other.certificate, leaf_of(other, "x"), leaf, ica.certificate, ica.certificate]
        result = validate_path(leaf, sent, [other.certificate, root.certificate], NOW)
        assert_path(result, leaf, ica.certificate, root.certificate)

    @pytest.mark.parametrize("key_type", list(KeyType), ids=lambda key_type: key_type.value)
    def test_every_key_type_signs_a_path(self, key_type):
        root = root_ca(key_type=key_type)
        leaf = leaf_of(root)
        assert_path(validate_path(leaf, [], [root.certificate], NOW), leaf, root.certificate)

    def test_anchor_is_chosen_by_key_identifier_among_those_of_one_name(self):
        root = root_ca()
        generations = [under(root, "ica") for _ in range(3)]
        anchors = [ica.certificate for ica in generations]
        leaf = leaf_of(generations[1])
        assert_path(validate_path(leaf, [], anchors, NOW), leaf, generations[1].certificate)

    def test_cross_signed_intermediate_leads_to_the_trusted_root(self):
        old, new = root_ca("old"), root_ca("new")
        ica = under(old, "ica")
        cross = handmade("ica", "new", ica.key, new.key, (CA, True))
        leaf = leaf_of(ica)
        result = validate_path(leaf, [ica.certificate, cross], [new.certificate], NOW)
        assert_path(result, leaf, cross, new.certificate)

    def test_loop_of_cross_signed_cas_still_finds_the_anchor(self):
        root = root_ca()
        a, b = generate_key(KeyType.P256), generate_key(KeyType.P256)
        a_by_b, b_by_a = handmade("a", "b", a, b, (CA, True)), handmade("b", "a", b, a, (CA, True))
        b_by_root = handmade("b", "root", b, root.key, (CA, True))
        leaf = handmade("sensor-001", "a", KEY, a)
        result = validate_path(leaf, [a_by_b, b_by_a, b_by_root], [root.certificate], NOW)
        assert_path(result, leaf, a_by_b, b_by_root, root.certificate)

    def test_expired_twin_of_an_intermediate_does_not_hide_the_valid_one(self):
        root = root_ca()
        key = generate_key(KeyType.P256)
        expired = handmade("ica", "root", key, root.key, (CA, True), end=NOW - timedelta(hours=1))
        valid = handmade("ica", "root", key, root.key, (CA, True))
        leaf = handmade("sensor-001", "ica", KEY, key)
        result = validate_path(leaf, [expired, valid], [root.certificate], NOW)
        assert_path(result, leaf, valid, root.certificate)

    def test_longest_chain(self):
        cas = chain_of(MAX_INTERMEDIATES)
        leaf = leaf_of(cas[-1])
        sent = [ca.certificate for ca in cas[1:]]
        result = validate_path(leaf, sent, [cas[0].certificate], NOW)
        assert_path(result, leaf, *reversed(sent), cas[0].certificate)

    def test_leaf_with_only_a_common_name(self):
        root = root_ca()
        leaf = handmade("sensor-001", "root", KEY, root.key)
        assert_path(validate_path(leaf, [], [root.certificate], NOW), leaf, root.certificate)

    @pytest.mark.parametrize(
        "extensions",
        [
            pytest.param([(CA, False)], id="basic constraints not critical, nothing else"),
            pytest.param([(CA, True), (ISSUING_CA.key_usage, False)], id="key usage not critical"),
            pytest.param(
                [(CA, True), (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), True)],
                id="client authentication only",
            ),
            pytest.param(
                [(CA, True), (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False)],
                id="any extended key usage",
            ),
        ],
    )
    def test_ca_extensions_that_are_forgiven(self, extensions):
        key, ica_key = generate_key(KeyType.P256), generate_key(KeyType.P256)
        root = handmade("root", "root", key, key, *extensions)
        ica = handmade("ica", "root", ica_key, key, *extensions)
        leaf = handmade("sensor-001", "ica", KEY, ica_key)
        assert_path(validate_path(leaf, [ica], [root], NOW), leaf, ica, root)

    def test_new_key_of_a_root_signed_with_its_old_one(self):
        root = root_ca()
        new_key, ica_key = generate_key(KeyType.P256), generate_key(KeyType.P256)
        old_id, new_id = key_identifier(root.key), key_identifier(new_key)
        new_with_old = handmade(
            "root", "root", new_key, root.key, (CA, True), (new_id, False), (authority(old_id), False)
        )
        ica = handmade("ica", "root", ica_key, new_key, (CA, True), (authority(new_id), False))
        leaf = handmade("sensor-001", "ica", KEY, ica_key)
        result = validate_path(leaf, [ica, new_with_old], [root.certificate], NOW)
        assert_path(result, leaf, ica, new_with_old, root.certificate)

    def test_self_signed_twin_of_a_cross_signed_ca_does_not_mislead(self):
        old, new = root_ca("old"), root_ca("new")
        cross = handmade("old", "new", old.key, new.key, (CA, True))
        ica = under(old, "ica")
        leaf = leaf_of(ica)
        sent = [ica.certificate, old.certificate, cross]
        result = validate_path(leaf, sent, [new.certificate], NOW)
        assert_path(result, leaf, ica.certificate, cross, new.certificate)


class TestValidity:
    def test_last_second_counts_and_the_next_does_not(self):
        root = root_ca()
        leaf = leaf_of(root)
        last = leaf.not_valid_after_utc
        assert_path(validate_path(leaf, [], [root.certificate], last), leaf, root.certificate)
        within = last + timedelta(microseconds=999_999)
        assert_path(validate_path(leaf, [], [root.certificate], within), leaf, root.certificate)
        after = validate_path(leaf, [], [root.certificate], last + timedelta(seconds=1))
        assert_refused(after, PathError.EXPIRED, "sensor-001", serial_of(leaf), str(last))

    def test_first_second_counts_and_the_one_before_does_not(self):
        root = root_ca()
        leaf = leaf_of(root)
        first = leaf.not_valid_before_utc
        assert_path(validate_path(leaf, [], [root.certificate], first), leaf, root.certificate)
        before = validate_path(leaf, [], [root.certificate], first - timedelta(seconds=1))
        assert_refused(before, PathError.NOT_YET_VALID, "sensor-001", serial_of(leaf), str(first))

    @pytest.mark.parametrize("who", ["root", "ica"])
    def test_expired_ca(self, who):
        end = {"root": NOW + DAY, "ica": NOW + DAY} | {who: NOW - timedelta(hours=1)}
        key, ica_key = generate_key(KeyType.P256), generate_key(KeyType.P256)
        root = handmade("root", "root", key, key, (CA, True), end=end["root"])
        ica = handmade("ica", "root", ica_key, key, (CA, True), end=end["ica"])
        leaf = handmade("sensor-001", "ica", KEY, ica_key)
        named = {"root": root, "ica": ica}[who]
        result = validate_path(leaf, [ica], [root], NOW)
        assert_refused(result, PathError.EXPIRED, who, serial_of(named))

    def test_expired_intermediate_is_refused_as_an_anchor_too(self):
        key = generate_key(KeyType.P256)
        ica = handmade("ica", "root", key, key, (CA, True), end=NOW - timedelta(hours=1))
        leaf = handmade("sensor-001", "ica", KEY, key)
        assert_refused(validate_path(leaf, [], [ica], NOW), PathError.EXPIRED, "ica", serial_of(ica))

    def test_ca_that_is_not_yet_valid(self):
        key = generate_key(KeyType.P256)
        root = handmade("root", "root", key, key, (CA, True), start=NOW + timedelta(hours=1))
        leaf = handmade("sensor-001", "root", KEY, key)
        assert_refused(validate_path(leaf, [], [root], NOW), PathError.NOT_YET_VALID, "root")


class TestUnknownIssuer:
    def test_no_anchors(self):
        _, ica = chain_of(1)
        leaf = leaf_of(ica)
        result = validate_path(leaf, [ica.certificate], [], NOW)
        assert_refused(result, PathError.UNKNOWN_ISSUER, "CN=intermediate 0", "CN=root", "neither trusted")
        assert serial_of(ica.certificate) in result.detail

    def test_missing_intermediate(self):
        root, ica = chain_of(1)
        leaf = leaf_of(ica)
        result = validate_path(leaf, [], [root.certificate], NOW)
        assert_refused(result, PathError.UNKNOWN_ISSUER, "sensor-001", "intermediate 0", "neither trusted")

    def test_untrusted_root_is_called_self_signed(self):
        root, ica = chain_of(1)
        leaf = leaf_of(ica)
        sent = [ica.certificate, root.certificate]
        result = validate_path(leaf, sent, [root_ca("another").certificate], NOW)
        assert_refused(result, PathError.UNKNOWN_ISSUER, "CN=root", "self-signed")

    def test_self_signed_leaf(self):
        leaf = handmade("sensor-001", "sensor-001", KEY, KEY)
        result = validate_path(leaf, [leaf], [root_ca().certificate], NOW)
        assert_refused(result, PathError.UNKNOWN_ISSUER, "sensor-001", "self-signed")

    def test_ca_of_the_same_name_with_another_key(self):
        trusted, impostor = root_ca(), root_ca()
        leaf = leaf_of(impostor)
        result = validate_path(leaf, [], [trusted.certificate], NOW)
        assert_refused(result, PathError.UNKNOWN_ISSUER, "sensor-001", "another key")

    def test_loop_of_cross_signed_cas_without_an_anchor(self):
        a, b = generate_key(KeyType.P256), generate_key(KeyType.P256)
        loop = [handmade("a", "b", a, b, (CA, True)), handmade("b", "a", b, a, (CA, True))]
        leaf = handmade("sensor-001", "a", KEY, a)
        result = validate_path(leaf, loop, [root_ca().certificate], NOW)
        assert_refused(result, PathError.UNKNOWN_ISSUER)


class TestSignature:
    def test_impostor_of_the_same_name_without_key_identifier(self):
        trusted = root_ca()
        leaf = handmade("sensor-001", "root", KEY, generate_key(KeyType.P256))
        result = validate_path(leaf, [], [trusted.certificate], NOW)
        assert_refused(result, PathError.BAD_SIGNATURE, "sensor-001", serial_of(leaf), "CN=root")

    def test_impostor_that_copies_the_key_identifier(self):
        trusted = root_ca()
        identifier = leaf_of(trusted).extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        leaf = handmade("sensor-001", "root", KEY, generate_key(KeyType.P256), (identifier, False))
        assert_refused(validate_path(leaf, [], [trusted.certificate], NOW), PathError.BAD_SIGNATURE)

    def test_intermediate_with_a_bad_signature(self):
        root = root_ca()
        key = generate_key(KeyType.P256)
        ica = handmade("ica", "root", key, generate_key(KeyType.P256), (CA, True))
        leaf = handmade("sensor-001", "ica", KEY, key)
        result = validate_path(leaf, [ica], [root.certificate], NOW)
        assert_refused(result, PathError.BAD_SIGNATURE, "CN=ica", serial_of(ica))

    def test_every_intermediate_of_one_name_is_tried(self):
        root = root_ca()
        keys = [generate_key(KeyType.P256) for _ in range(MAX_PATHS)]
        twins = [handmade("ica", "root", key, root.key, (CA, True)) for key in keys]
        leaf = handmade("sensor-001", "ica", KEY, keys[-1])
        result = validate_path(leaf, twins, [root.certificate], NOW)
        assert_path(result, leaf, twins[-1], root.certificate)

    def test_only_so_many_chains_are_tried(self):
        keys = [generate_key(KeyType.P256) for _ in range(MAX_PATHS + 1)]
        anchors = [handmade("root", "root", key, key, (CA, True)) for key in keys]
        leaf = handmade("sensor-001", "root", KEY, keys[-1])
        assert_refused(validate_path(leaf, [], anchors, NOW), PathError.BAD_SIGNATURE)
        assert_path(validate_path(leaf, [], anchors[1:], NOW), leaf, anchors[-1])

    def test_forged_chain_fails_at_the_first_signature_under_its_anchor(self):
        """From the anchor down: no signature is checked with a key that the forger chose.

        With RSA keys of 3,072 bits and public exponents as long, eight intermediates of ambiguous names cost a quarter
        of a second from the leaf up.
        """
        key, stranger = generate_key(KeyType.P256), generate_key(KeyType.P256)
        root = handmade("root", "root", key, key, (CA, True))
        upper = handmade("upper", "root", stranger, stranger, (CA, True))
        lower = handmade("lower", "upper", stranger, key, (CA, True))
        leaf = handmade("sensor-001", "lower", KEY, key)
        result = validate_path(leaf, [lower, upper], [root], NOW)
        assert_refused(result, PathError.BAD_SIGNATURE, "the signature of 'CN=upper'", "by the key of 'CN=root'")

    def test_remembered_signature_is_of_this_issuer(self):
        """An intermediate that one root signed is not taken for that of another root of the same name."""
        keys = [generate_key(KeyType.P256) for _ in range(3)]
        first, second = (handmade("root", "root", key, key, (CA, True)) for key in keys[:2])
        ica = handmade("ica", "root", keys[2], keys[0], (CA, True))
        leaf = handmade("sensor-001", "ica", KEY, keys[2])
        for _ in range(2):
            assert_path(validate_path(leaf, [ica], [first], NOW), leaf, ica, first)
            assert_refused(validate_path(leaf, [ica], [second], NOW), PathError.BAD_SIGNATURE, "CN=ica")


class TestUnfit:
    def test_leaf_used_as_a_ca(self):
        root = root_ca()
        false_ca_key = generate_key(KeyType.P256)
        false_ca = root.issue_onboarding("sensor-000", false_ca_key.public_key(), NOW, validity=DAY)
        leaf = handmade("sensor-001", "sensor-000", KEY, false_ca_key)
        result = validate_path(leaf, [false_ca], [root.certificate], NOW)
        assert_refused(result, PathError.NOT_A_CA, "sensor-000", serial_of(false_ca), "CA:TRUE")

    def test_leaf_trusted_by_mistake_issues_nothing(self):
        root = root_ca()
        false_ca = root.issue_onboarding("sensor-000", KEY.public_key(), NOW, validity=DAY)
        leaf = handmade("sensor-001", "sensor-000", KEY, KEY)
        assert_refused(validate_path(leaf, [], [false_ca], NOW), PathError.NOT_A_CA)

    @pytest.mark.parametrize(
        "extensions",
        [
            pytest.param([], id="no basic constraints"),
            pytest.param([(x509.BasicConstraints(ca=False, path_length=None), True)], id="CA:FALSE"),
            pytest.param(
                [(CA, True), (OPERATIONAL_LEAF.key_usage, True)],
                id="no keyCertSign",
            ),
        ],
    )
    def test_issuer_that_is_no_ca(self, extensions):
        root = root_ca()
        key = generate_key(KeyType.P256)
        ica = handmade("ica", "root", key, root.key, *extensions)
        leaf = handmade("sensor-001", "ica", KEY, key)
        result = validate_path(leaf, [ica], [root.certificate], NOW)
        assert_refused(result, PathError.NOT_A_CA, "CN=ica", serial_of(ica))

    def test_path_length_exceeded(self):
        root = root_ca()
        first = under(root, "first", profile=ISSUING_CA)
        second = under(first, "second")
        leaf = leaf_of(second)
        sent = [second.certificate, first.certificate]
        result = validate_path(leaf, sent, [root.certificate], NOW)
        assert_refused(result, PathError.UNSUITABLE, "CN=first", "1 CAs below", "allows 0")

    @pytest.mark.parametrize("count", [MAX_INTERMEDIATES + 1, 50])
    def test_too_many_intermediates(self, count):
        root = root_ca()
        leaf = leaf_of(root)
        result = validate_path(leaf, [root.certificate] * count, [root.certificate], NOW)
        assert_refused(result, PathError.UNSUITABLE, str(count), str(MAX_INTERMEDIATES))

    def test_anchor_is_no_leaf(self):
        root = root_ca()
        result = validate_path(root.certificate, [], [root.certificate], NOW)
        assert_refused(result, PathError.UNSUITABLE, "CN=root", "trust anchor")

    def test_leaf_for_servers_only(self):
        root = root_ca()
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        leaf = handmade("sensor-001", "root", KEY, root.key, (usage, False))
        result = validate_path(leaf, [], [root.certificate], NOW)
        assert_refused(result, PathError.UNSUITABLE, "sensor-001", "clientAuth")

    def test_ca_for_servers_only(self):
        root = root_ca()
        key = generate_key(KeyType.P256)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        ica = handmade("ica", "root", key, root.key, (CA, True), (usage, False))
        leaf = handmade("sensor-001", "ica", KEY, key)
        result = validate_path(leaf, [ica], [root.certificate], NOW)
        assert_refused(result, PathError.UNSUITABLE, "clientAuth")

    def test_names_equal_in_value_but_not_in_encoding_do_not_chain(self):
        root = root_ca()
        leaf = (
            x509.CertificateBuilder(
                issuer_name=x509.Name(
                    [x509.NameAttribute(NameOID.COMMON_NAME, "root", x509.name._ASN1Type.PrintableString)]
                ),
                subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sensor-001")]),
                public_key=KEY.public_key(),
                serial_number=7,
                not_valid_before=NOW,
                not_valid_after=NOW,
            )
        ).sign(root.key, signature_hash(root.key))
        result = validate_path(leaf, [], [root.certificate], NOW)
        assert_refused(result, PathError.UNSUITABLE, "sensor-001")

    def test_name_that_cannot_be_decoded_is_unsuitable(self):
        root = root_ca()
        der = leaf_of(root).public_bytes(Encoding.DER)
        leaf = x509.load_der_x509_certificate(der.replace(b"sensor-001", b"sensor-\xff\xff1"))
        assert_refused(validate_path(leaf, [], [root.certificate], NOW), PathError.UNSUITABLE, "malformed")

    def test_ca_with_extensions_that_cannot_be_decoded(self):
        key = generate_key(KeyType.P256)
        broken = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_KEY_IDENTIFIER, b"\xff")
        root = handmade("root", "root", key, key, (CA, True), (broken, False))
        leaf = handmade("sensor-001", "root", KEY, key, (authority(key_identifier(key)), False))
        assert_refused(validate_path(leaf, [], [root], NOW), PathError.UNSUITABLE, "malformed")

    @pytest.mark.parametrize(
        ("oid", "value"),
        [
            (ExtensionOID.SUBJECT_ALTERNATIVE_NAME, bytes.fromhex("3012a410300e310c300a06035504030303006162")),
            (ExtensionOID.NAME_CONSTRAINTS, bytes.fromhex("300aa00830068704") + bytes(4)),
        ],
        ids=["common name that is a BIT STRING", "address without a mask"],
    )
    def test_extension_with_a_value_of_another_type_never_raises(self, oid, value):
        """`cryptography` raises a TypeError for these, in the middle of a verification too."""
        key = generate_key(KeyType.P256)
        root, broken = handmade("root", "root", key, key, (CA, True)), x509.UnrecognizedExtension(oid, value)
        for leaf, intermediates in (
            (handmade("sensor-001", "root", KEY, key, (broken, False)), []),
            (handmade("sensor-001", "sub", KEY, key), [handmade("sub", "root", key, key, (CA, True), (broken, False))]),
        ):
            assert isinstance(validate_path(leaf, intermediates, [root], NOW), PathRefusal | ValidPath)

    def test_validity_that_is_no_date_is_unsuitable(self):
        key = generate_key(KeyType.P256)
        years = datetime(2050, 11, 23, tzinfo=UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sub")])
        builder = x509.CertificateBuilder(name, name, key.public_key(), 7, years, years)
        der = builder.add_extension(CA, critical=True).sign(key, signature_hash(key)).public_bytes(Encoding.DER)
        broken = x509.load_der_x509_certificate(der.replace(b"20501123", b"00001123", 1))
        for leaf, anchors in ((broken, []), (handmade("sensor-001", "sub", KEY, key), [broken])):
            assert_refused(validate_path(leaf, [], anchors, NOW), PathError.UNSUITABLE, "malformed")

    def test_names_of_any_length_are_compared_without_a_warning(self):
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text, _validate=False)])

        with pytest.warns(UserWarning, match="length"):
            long = named("r" * 65)
        key = generate_key(KeyType.P256)
        root, leaf = (
            x509.CertificateBuilder(long, subject, public_key, 7, NOW - DAY, NOW + DAY)
            .add_extension(x509.BasicConstraints(ca=subject is long, path_length=None), critical=True)
            .sign(key, signature_hash(key))
            .public_bytes(Encoding.DER)
            for subject, public_key in ((long, key.public_key()), (named("sensor-001"), KEY.public_key()))
        )
        root, leaf = load_certificate(root), load_certificate(leaf)
        assert_path(validate_path(leaf, [root], [root], NOW), leaf, root)
        root, leaf = (load_certificate(one.public_bytes(Encoding.DER)) for one in (root, leaf))
        assert walk_issuers(leaf, [root]) == (leaf, root)

    def test_long_name_is_cut_in_the_detail(self):
        leaf = handmade("x" * 64, "y" * 64, KEY, KEY)
        assert len(validate_path(leaf, [], [], NOW).detail) < 400


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_chain_made_by_openssl(vector):
    given, expect = vector["input"], vector["expect"]

    def load(text: str) -> x509.Certificate:
        return load_certificate(base64.b64decode(text))

    intermediates, anchors = [load(t) for t in given["intermediates"]], [load(t) for t in given["anchors"]]
    result = validate_path(load(given["leaf"]), intermediates, anchors, datetime.fromisoformat(given["now"]))
    if "path" in expect:
        assert isinstance(result, ValidPath), result
        assert [common_name_of(one) for one in result.certificates] == expect["path"]
    else:
        assert_refused(result, PathError[expect["error"]], expect["detail"])


class TestWalk:
    def test_follows_issuers_in_any_order_and_leaves_the_unrelated(self):
        root, first, second = chain_of(2)
        leaf = leaf_of(second)
        sent = [root.certificate, root_ca("other").certificate, first.certificate, second.certificate]
        walked = walk_issuers(leaf, sent)
        assert walked == (leaf, second.certificate, first.certificate, root.certificate)

    def test_stops_at_a_self_signed_ca(self):
        right, wrong = root_ca(), root_ca()
        leaf = leaf_of(right)
        assert walk_issuers(leaf, [right.certificate, wrong.certificate]) == (leaf, right.certificate)

    def test_stops_where_the_issuer_is_missing(self):
        _, first, second = chain_of(2)
        leaf = leaf_of(second)
        assert walk_issuers(leaf, [first.certificate]) == (leaf,)

    def test_takes_the_issuer_with_the_right_key(self):
        right, wrong = root_ca(), root_ca()
        leaf = leaf_of(right)
        assert walk_issuers(leaf, [wrong.certificate, right.certificate]) == (leaf, right.certificate)

    def test_loop_is_walked_once(self):
        a, b = generate_key(KeyType.P256), generate_key(KeyType.P256)
        a_by_b, b_by_a = handmade("a", "b", a, b), handmade("b", "a", b, a)
        leaf = handmade("sensor-001", "a", KEY, a)
        assert walk_issuers(leaf, [a_by_b, b_by_a]) == (leaf, a_by_b, b_by_a)

    def test_goes_no_further_than_the_longest_path(self):
        cas = chain_of(MAX_INTERMEDIATES)
        leaf = leaf_of(cas[-1])
        walked = walk_issuers(leaf, [ca.certificate for ca in cas])
        assert len(walked) == 1 + MAX_INTERMEDIATES


class TestIssuedBy:
    def test_name_and_signature_match(self):
        root = root_ca()
        assert issued_by(leaf_of(root), root.certificate)

    def test_same_name_other_key(self):
        assert not issued_by(leaf_of(root_ca()), root_ca().certificate)

    def test_same_key_other_name(self):
        root = root_ca()
        twin = handmade("twin", "twin", root.key, root.key, (CA, True))
        assert not issued_by(leaf_of(root), twin)

    def test_key_of_another_kind(self):
        key = ed25519.Ed25519PrivateKey.generate()
        twin = handmade("root", "root", key, key, (CA, True))
        assert not issued_by(leaf_of(root_ca()), twin)

    def test_signature_cut_short(self):
        root = root_ca()
        der = bytearray(leaf_of(root).public_bytes(Encoding.DER))
        der[-1] ^= 1
        assert not issued_by(load_certificate(bytes(der)), root.certificate)
