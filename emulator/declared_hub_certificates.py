"""Brings the CA certificates registered on a hub to what the configuration declares."""

import logging
from collections.abc import Sequence
from typing import Literal

from cryptography import x509

from emulator.config_values import DEV_CA, CertificateFile
from emulator.development_ca import DevelopmentCa
from hub.hub import Hub

logger = logging.getLogger("emulator")

# What somebody else registered has no such name, and is left alone.
PREFIX = "hublet.yaml/"


def declare_hub_certificates(
    hub: Hub, declared: Sequence[CertificateFile | Literal["dev-ca"]], dev_ca: DevelopmentCa
) -> None:
    """Register the declared CAs as trust anchors, and forget those that are declared no longer.

    Raises:
        HubError: a hub holds at most 25.
    """
    wanted = dict(_named(each, dev_ca) for each in declared)
    present = {name for name in hub.certificates.names() if name.startswith(PREFIX)}
    for name in sorted(present - wanted.keys()):
        hub.certificates.remove(name)
        logger.info("hubs.%s.ca_certificates: %s removed", hub.settings.name, name.removeprefix(PREFIX))
    anchors = hub.certificates.anchors()
    for name, certificate in wanted.items():
        if name not in present or certificate not in anchors:
            hub.certificates.add(name, certificate)
            logger.info("hubs.%s.ca_certificates: %s registered", hub.settings.name, name.removeprefix(PREFIX))


def _named(declared: CertificateFile | Literal["dev-ca"], dev_ca: DevelopmentCa) -> tuple[str, x509.Certificate]:
    if isinstance(declared, CertificateFile):
        return f"{PREFIX}{declared.path}", declared.certificates[0]
    return f"{PREFIX}{DEV_CA}", dev_ca.intermediate.certificate
