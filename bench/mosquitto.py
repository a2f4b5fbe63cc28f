"""The reference: mosquitto with client certificates required, on the same chains as hublet.

It checks the chain to the root, keeps nothing and logs nothing; a client's identity is the CN of its certificate.
"""

import getpass
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from bench.server import Server, Target, free_port
from certs.authority import CertificateAuthority
from certs.keys import KeyType, generate_key
from certs.pem import format_pem, format_private_key

INSTALL = "apt-get install mosquitto"

CONFIGURATION = """\
listener {port} 127.0.0.1
cafile {directory}/clients-ca.pem
certfile {directory}/server.pem
keyfile {directory}/server-key.pem
require_certificate true
use_identity_as_username true
allow_anonymous false
persistence false
log_dest none
user {user}
"""


def find_mosquitto() -> str | None:
    """Return mosquitto's path, also where Debian puts it; None when it is not installed."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def mosquitto_version(program: str) -> str:
    """Return the first line of its help, which names its version."""
    output = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stdout
    return output.partition("\n")[0].strip()


def start_mosquitto(program: str, directory: Path, clients_root: x509.Certificate) -> tuple[Server, Target]:
    """Write its configuration and certificates into a new directory, and start it.

    Raises:
        RuntimeError: it does not listen.
    """
    _write_certificates(directory, clients_root)
    port = free_port()
    configuration = CONFIGURATION.format(port=port, directory=directory, user=getpass.getuser())
    (directory / "mosquitto.conf").write_text(configuration)
    server = Server([program, "-c", directory / "mosquitto.conf"], directory / "mosquitto.log")
    try:
        server.wait_for_port(port)
    except RuntimeError:
        server.stop()
        raise
    return server, Target(port, directory / "server-ca.pem")


def _write_certificates(directory: Path, clients_root: x509.Certificate) -> None:
    """Make a server certificate as hublet's is: P-256, directly under a root."""
    now = datetime.now(UTC)
    root = CertificateAuthority.create_root("bench server CA", now, key_type=KeyType.P256)
    key = generate_key(KeyType.P256)
    leaf = root.issue_server(["localhost"], key.public_key(), now, validity=timedelta(days=2))
    directory.mkdir(parents=True)
    (directory / "clients-ca.pem").write_bytes(format_pem(clients_root))
    (directory / "server-ca.pem").write_bytes(format_pem(root.certificate))
    (directory / "server.pem").write_bytes(format_pem(leaf))
    (directory / "server-key.pem").write_bytes(format_private_key(key))
