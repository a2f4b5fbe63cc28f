"""What each kind of certificate holds: every profile as one row, every extension and its criticality in one function.

Rules for editing: a rule about what a certificate contains stands here and nowhere else. A profile holds what is
the same for all its certificates; `Binding` holds what differs. `authority.py` adds names, times and a signature.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from certs.keys import PublicKey


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of certificate.

    `path_length` is the number of CAs that may stand below a CA, None for no limit; leaves have none.
    """

    name: str
    ca: bool
    path_length: int | None
    key_usage: x509.KeyUsage
    extended_key_usage: x509.ExtendedKeyUsage | None = None


@dataclass(frozen=True, slots=True)
class Binding:
    """What one certificate holds beyond its profile."""

    alternative_names: Sequence[x509.GeneralName] = ()
    crl_url: str = ""
    issuer_url: str = ""


BARE = Binding()


def _key_usage(*, signature: bool = False, encipherment: bool = False, certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signature,
        content_commitment=False,
        key_encipherment=encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


_SIGNS_CERTIFICATES = _key_usage(certificates=True)
_SIGNS = _key_usage(signature=True)
_SIGNS_AND_ENCIPHERS = _key_usage(signature=True, encipherment=True)
_CLIENT_AUTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
_SERVER_AUTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])

# The PKI of an ADR namespace: root (credential), issuing CA (policy), operational leaf (device).
# Source: Microsoft Learn, certificate management concepts (documented); path lengths and key usages are assumed.
ROOT_CA = Profile("root CA", ca=True, path_length=1, key_usage=_SIGNS_CERTIFICATES)
ISSUING_CA = Profile("issuing CA", ca=True, path_length=0, key_usage=_SIGNS_CERTIFICATES)
OPERATIONAL_LEAF = Profile(
    "operational leaf", ca=False, path_length=None, key_usage=_SIGNS, extended_key_usage=_CLIENT_AUTH
)

# What `hublet dev-ca` makes, in place of the CA of somebody's factory.
ONBOARDING_ROOT = Profile("onboarding root", ca=True, path_length=None, key_usage=_SIGNS_CERTIFICATES)
ONBOARDING_INTERMEDIATE = Profile("onboarding intermediate", ca=True, path_length=0, key_usage=_SIGNS_CERTIFICATES)
ONBOARDING_LEAF = Profile(
    "onboarding leaf", ca=False, path_length=None, key_usage=_SIGNS, extended_key_usage=_CLIENT_AUTH
)

# The front door's own PKI, which no device certificate chains to.
SERVER_CA = Profile("server CA", ca=True, path_length=0, key_usage=_SIGNS_CERTIFICATES)
SERVER_LEAF = Profile("server leaf", ca=False, path_length=None, key_usage=_SIGNS, extended_key_usage=_SERVER_AUTH)

PROFILES = (
    ROOT_CA,
    ISSUING_CA,
    OPERATIONAL_LEAF,
    ONBOARDING_ROOT,
    ONBOARDING_INTERMEDIATE,
    ONBOARDING_LEAF,
    SERVER_CA,
    SERVER_LEAF,
)


def extensions_of(
    profile: Profile,
    binding: Binding,
    public_key: PublicKey,
    authority_key_identifier: x509.AuthorityKeyIdentifier | None,
) -> list[x509.Extension[x509.ExtensionType]]:
    """List a certificate's extensions; a root has no authority key identifier."""
    extensions = [
        _critical(x509.BasicConstraints(ca=profile.ca, path_length=profile.path_length)),
        _critical(_key_usage_for(profile, public_key)),
        _not_critical(x509.SubjectKeyIdentifier.from_public_key(public_key)),
    ]
    if authority_key_identifier is not None:
        extensions.append(_not_critical(authority_key_identifier))
    if profile.extended_key_usage is not None:
        extensions.append(_not_critical(profile.extended_key_usage))
    if binding.alternative_names:
        extensions.append(_not_critical(x509.SubjectAlternativeName(binding.alternative_names)))
    if binding.crl_url:
        extensions.append(_not_critical(_crl_distribution_points(binding.crl_url)))
    if binding.issuer_url:
        extensions.append(_not_critical(_authority_information_access(binding.issuer_url)))
    return extensions


def host_alternative_names(host_names: Sequence[str]) -> list[x509.GeneralName]:
    """Turn host names and literal IP addresses into DNS and IP alternative names, in the order given.

    Raises:
        ValueError: a host name is not ASCII (write it in its IDNA form).
    """
    return [_host_alternative_name(host_name) for host_name in host_names]


def _critical(value: x509.ExtensionType) -> x509.Extension[x509.ExtensionType]:
    return x509.Extension(value.oid, critical=True, value=value)


def _not_critical(value: x509.ExtensionType) -> x509.Extension[x509.ExtensionType]:
    return x509.Extension(value.oid, critical=False, value=value)


def _host_alternative_name(host_name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host_name))
    except ValueError:
        return x509.DNSName(host_name)


def _key_usage_for(profile: Profile, public_key: PublicKey) -> x509.KeyUsage:
    # TLS 1.2 clients without ECDHE encipher their secret to an RSA server key.
    if profile is SERVER_LEAF and isinstance(public_key, rsa.RSAPublicKey):
        return _SIGNS_AND_ENCIPHERS
    return profile.key_usage


def _crl_distribution_points(url: str) -> x509.CRLDistributionPoints:
    full_name = [x509.UniformResourceIdentifier(url)]
    return x509.CRLDistributionPoints([x509.DistributionPoint(full_name, None, None, None)])


def _authority_information_access(url: str) -> x509.AuthorityInformationAccess:
    location = x509.UniformResourceIdentifier(url)
    description = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, location)
    return x509.AuthorityInformationAccess([description])
