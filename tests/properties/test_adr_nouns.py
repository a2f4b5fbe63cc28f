"""What is stored of a noun reads back as the same noun, and names are either the rule's or refused."""

import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from adr.authority import AuthorityState, IssuingCa, authority_key, format_authority, parse_authority
from adr.credential import Credential, credential_key, format_credential, parse_credential
from adr.device import AdrDevice, format_device, parse_device
from adr.errors import NameInvalid
from adr.issuance import IssuedCertificate, format_issued, issued_key, parse_issued
from adr.namespace import Namespace, format_namespace, parse_namespace, parse_namespace_name
from adr.policy import Policy, format_policy, parse_authority_name, parse_policy, parse_policy_name, policy_key
from certs.authority import CertificateAuthority

CERTIFICATE = CertificateAuthority.create_root("root", datetime(2026, 11, 23, tzinfo=UTC)).certificate

moments = st.datetimes(timezones=st.just(UTC))
namespace_names = st.from_regex(r"[a-z0-9][a-z0-9-]{1,62}[a-z0-9]", fullmatch=True)
policy_names = st.from_regex(r"[0-9a-zA-Z][a-zA-Z0-9-]{2,49}", fullmatch=True)
authority_names = st.from_regex(r"[0-9a-zA-Z][a-zA-Z0-9-]{2,62}", fullmatch=True)
details = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text(), max_size=3)
device_ids = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1)


@given(st.builds(Namespace, namespace_names, moments))
def test_namespace_reads_back(namespace: Namespace) -> None:
    assert parse_namespace(namespace.name, format_namespace(namespace)) == namespace


@given(
    st.builds(
        Credential, namespace_names, st.just(CERTIFICATE), moments, st.integers(1), authority_names, st.booleans()
    )
)
def test_credential_reads_back(credential: Credential) -> None:
    key = credential_key(credential.namespace, credential.generation)
    assert parse_credential(key, format_credential(credential)) == credential


@given(
    st.builds(
        IssuingCa,
        namespace_names,
        authority_names,
        st.integers(1, 999_999),
        st.sampled_from(AuthorityState),
        st.booleans(),
        moments,
        moments,
        st.none() | st.just(CERTIFICATE),
        st.just(()) | st.just((CERTIFICATE, CERTIFICATE)),
        st.none() | st.text(),
        st.text(),
        st.text(),
    )
)
def test_issuing_ca_reads_back(authority: IssuingCa) -> None:
    key = authority_key(authority.namespace, authority.name, authority.generation)
    assert parse_authority(key, format_authority(authority)) == authority


@given(
    st.builds(
        Policy, namespace_names, policy_names, st.timedeltas(timedelta(), timedelta(days=90)), authority_names, moments
    )
)
def test_policy_reads_back(policy: Policy) -> None:
    assert parse_policy(policy_key(policy.namespace, policy.name), format_policy(policy)) == policy


@given(st.builds(AdrDevice, device_ids, st.uuids(), st.none() | policy_names, st.booleans(), moments, details))
def test_device_reads_back(device: AdrDevice) -> None:
    assert parse_device(format_device(device)) == device


@given(
    namespace_names,
    st.builds(IssuedCertificate, device_ids, st.integers(1).map("{:x}".format), policy_names, moments),
)
def test_note_of_an_issued_certificate_reads_back(namespace: str, note: IssuedCertificate) -> None:
    key = issued_key(namespace, note.device_id, note.serial_number)
    assert parse_issued(key, format_issued(note)) == note


@given(st.text() | namespace_names | authority_names)
def test_any_text_is_a_name_by_the_rule_or_refused(text: str) -> None:
    for parse, allowed in (
        (parse_namespace_name, re.match(r"^(?!-)[a-z0-9-]{3,64}(?<!-)\Z", text)),
        (parse_authority_name, re.match(r"^(?!-)[A-Za-z0-9-]{3,63}\Z", text)),
        (parse_policy_name, re.match(r"^(?!-)[A-Za-z0-9-]{3,50}\Z", text)),
    ):
        try:
            assert parse(text) == text
        except NameInvalid:
            assert not allowed
        else:
            assert allowed
