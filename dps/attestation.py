"""Who a device is: its credentials, held against the enrollments."""

from datetime import datetime

from dps.attestation_symmetric_key import attest_symmetric_key
from dps.attestation_x509 import attest_x509
from dps.credentials import Attested, Credentials
from dps.enrollments import Enrollments
from dps.errors import Unauthorized


def attest(enrollments: Enrollments, credentials: Credentials, now: datetime) -> Attested:
    """Find the enrollment that knows these credentials, enabled or not; a token goes before a certificate.

    Raises:
        CaCertificateNotFound: no enrollment trusts the presented chain.
        InvalidCertificate: the presented chain is not valid, or for another device.
        Unauthorized: the token is not signed by a key of an enrollment, or there is no credential at all.

    Source: iot-mqtt-connect-to-iot-dps.md (documented); without any credential 401000 is assumed.
    """
    if credentials.token_error:
        raise Unauthorized(credentials.token_error)
    if credentials.token is not None:
        return attest_symmetric_key(enrollments, credentials, now)
    if credentials.peer_chain:
        return attest_x509(enrollments, credentials, now)
    raise Unauthorized("the connection brought neither a SAS token nor a client certificate")
