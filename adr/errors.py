"""What Azure Device Registry refuses: one class per rule, each message with the value, the limit and the rule."""


class AdrError(Exception):
    """A rule of the device registry was violated."""


class NameInvalid(AdrError):
    """A namespace or policy name breaks the naming rule."""


class NamespaceNotFound(AdrError):
    """No namespace has this name."""


class NamespaceExists(AdrError):
    """A namespace of this name is there already; its credential is not replaced."""


class PolicyNotFound(AdrError):
    """The namespace has no policy of this name."""


class PolicyExists(AdrError):
    """The namespace has a policy of this name already; its issuing CA is not replaced."""


class ValidityOutOfRange(AdrError):
    """A policy's leaf validity is outside what the service accepts."""


class DeviceNotFound(AdrError):
    """The namespace has no record of this device."""


class DeviceDisabled(AdrError):
    """The device is disabled and gets no certificate."""


class DeviceHasNoPolicy(AdrError):
    """The device's enrollment named no credential policy, so nobody issues for it."""


class CommonNameTooLong(AdrError):
    """The device ID does not fit into the common name of a certificate (RFC 5280 appendix A.1)."""


class IssuerExpired(AdrError):
    """The CA that would have to sign is no longer valid."""


class IssuerKeyMissing(AdrError):
    """The CA that would have to sign has lost its private key."""


class NamespaceNotEmpty(AdrError):
    """The namespace still has policies, certificate authorities or devices."""


class CredentialNotFound(AdrError):
    """The namespace has no credential, so it has no root CA."""


class CredentialExists(AdrError):
    """The namespace has its root CA already; it is not replaced."""


class CredentialHasPolicies(AdrError):
    """A credential is deleted last: its certificate authorities and policies first."""


class AuthorityNotFound(AdrError):
    """The namespace has no certificate authority of this name."""


class AuthorityExists(AdrError):
    """The namespace has a certificate authority of this name already."""


class AuthorityHasPolicies(AdrError):
    """A certificate authority is deleted after its policies."""


class AuthorityNotActive(AdrError):
    """The certificate authority waits for its signed certificate, so it cannot sign."""


class AuthorityIsExternal(AdrError):
    """Only the owner of the root can revoke what that root signed."""


class AuthorityIsManaged(AdrError):
    """The certificate authority is signed by the namespace's root: there is nothing to activate."""


class PolicyRequiresIssuingCa(AdrError):
    """A policy belongs under an issuing CA, not under a root."""


class CertificateChainInvalid(AdrError):
    """A signed chain does not activate the certificate authority."""
