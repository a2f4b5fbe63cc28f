"""A registry whose CA makes mistakes: certificates that no device should accept, or no hub would."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from adr.issuance import NOBODY, IssuedChain, Requester
from adr.registry import AdrRegistry
from certs.csr import CertificateRequest
from certs.keys import KeyType, generate_key
from certs.pem import format_base64_der
from emulator.faults.fault import FaultKind

# Decides on the certificate of a device that somebody asks for: what is wrong with it, None for nothing.
Tampering = Callable[[str, Requester, datetime], FaultKind | None]

WRONG_NAME: Final = "another-device"
NOT_YET: Final = timedelta(days=1)
# A chain of three has no room for this in the C client (azure-sdk-for-c az_iot_provisioning_client.c: sdk).
OVER_LONG: Final = 6


@dataclass(frozen=True, slots=True)
class TamperedChain(IssuedChain):
    """A chain that is presented otherwise than it was issued."""

    presented: tuple[x509.Certificate, ...] = ()

    def base64_der(self) -> tuple[str, ...]:
        """Return what is presented."""
        return tuple(format_base64_der(certificate) for certificate in self.presented)


class FaultyRegistry(AdrRegistry):
    """An `AdrRegistry` that issues as it should unless `tampering` is set and says otherwise."""

    tampering: Tampering | None = None

    def issue(
        self,
        namespace: str,
        device_id: str,
        request: CertificateRequest,
        now: datetime,
        requester: Requester = NOBODY,
    ) -> IssuedChain:
        """Issue as `AdrRegistry` does, or with one mistake.

        Raises:
            AdrError: as the real one.
        """
        kind = self.tampering(device_id, requester, now) if self.tampering is not None else None
        if kind is None:
            return super().issue(namespace, device_id, request, now, requester)
        if kind is FaultKind.WRONG_KEY:
            request = replace(request, public_key=generate_key(KeyType.P256).public_key())
        chain = super().issue(namespace, device_id, request, now, requester)
        if kind in {FaultKind.WRONG_CN, FaultKind.EXPIRED, FaultKind.NOT_YET_VALID}:
            return replace(chain, leaf=self._mistaken_leaf(kind, namespace, device_id, request, now))
        return TamperedChain(chain.leaf, chain.issuing_ca, chain.root, _presented(kind, chain))

    def _mistaken_leaf(
        self, kind: FaultKind, namespace: str, device_id: str, request: CertificateRequest, now: datetime
    ) -> x509.Certificate:
        device = self.devices.require(namespace, device_id)
        policy = self.issuing.policy_for(namespace, device)
        authority = self.authorities.current(namespace, policy.authority)
        return self.authorities.signer(authority).issue_operational(
            WRONG_NAME if kind is FaultKind.WRONG_CN else device_id,
            request.public_key,
            device.identifier,
            now + NOT_YET if kind is FaultKind.NOT_YET_VALID else now,
            # The period begins five minutes ago, or with its CA.
            validity=timedelta(seconds=-1) if kind is FaultKind.EXPIRED else policy.leaf_validity,
            crl_url=self.urls.revocation_list(authority),
            issuer_url=self.urls.certificate(authority),
        )


def _presented(kind: FaultKind, chain: IssuedChain) -> tuple[x509.Certificate, ...]:
    whole = (chain.leaf, chain.issuing_ca, *(() if chain.root is None else (chain.root,)))
    match kind:
        case FaultKind.REORDERED:
            return whole[::-1]
        case FaultKind.TRUNCATED:
            return whole[:1]
        case FaultKind.OVER_LONG:
            return (*whole, *[whole[-1]] * (OVER_LONG - len(whole)))
        case _:
            return whole
