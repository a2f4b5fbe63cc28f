"""Somebody's own PKI, by openssl's command line: a root, and what it signs for a policy of the device registry."""

import subprocess
from pathlib import Path

EXTENSIONS = """
basicConstraints = critical, CA:TRUE, pathlen:1
keyUsage = critical, digitalSignature, keyCertSign, cRLSign
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


def openssl(directory: Path, *arguments: str) -> str:
    """Run openssl and return what it printed."""
    command = ["openssl", *arguments]
    answer = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, f"{' '.join(command)}: {answer.stderr}"
    return answer.stdout + answer.stderr


def make_root(directory: Path) -> None:
    """Make `root.pem` and its key."""
    openssl(
        directory, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-sha384",
        "-days", "3650", "-subj", "/CN=Own Root", "-keyout", "root.key", "-out", "root.pem",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    (directory / "ica.ext").write_text(EXTENSIONS)


def sign_command(days: int = 730) -> list[str]:
    """The command that signs `ica.csr` as `ica.pem`."""
    return [
        "openssl", "x509", "-req", "-in", "ica.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial",
        "-days", str(days), "-sha384", "-extfile", "ica.ext", "-out", "ica.pem",
    ]  # fmt: skip


def sign(directory: Path, request: str, *, days: int = 730) -> str:
    """Sign a CSR and return the chain in PEM."""
    (directory / "ica.csr").write_text(request)
    openssl(directory, *sign_command(days)[1:])
    return (directory / "ica.pem").read_text() + (directory / "root.pem").read_text()
