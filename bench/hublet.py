"""hublet as the server under test: `hublet up` as a user runs it, on ports of the system's choice."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from bench.server import Server, Target
from certs.pem import format_pem

ID_SCOPE = "0ne0BE9C400"
NAMESPACE, POLICY, HUB = "default", "default", "hub1"

CONFIGURATION = """\
namespaces:
  {namespace}: {{policies: {{{policy}: {{}}}}}}
hubs:
  {hub}: {{namespace: {namespace}}}
dps:
  dps1:
    id_scope: {id_scope}
    namespace: {namespace}
    retry_after_seconds: 1
    enrollment_groups:
      bench: {{ca: onboarding-ca.pem, credential_policy: {policy}}}
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """A configuration and a state directory that `hublet up` can run on, again and again."""

    directory: Path

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.directory / "state"

    @property
    def database(self) -> Path:
        """The SQLite file in it."""
        return self.state / "hublet.sqlite"

    @property
    def configuration(self) -> Path:
        """The configuration file."""
        return self.directory / "hublet.yaml"

    @classmethod
    def create(cls, directory: Path, onboarding_ca: x509.Certificate) -> "Installation":
        """Write a configuration whose DPS trusts one onboarding CA, into a new directory."""
        directory.mkdir(parents=True)
        installation = cls(directory)
        (directory / "onboarding-ca.pem").write_bytes(format_pem(onboarding_ca))
        installation.configuration.write_text(
            CONFIGURATION.format(namespace=NAMESPACE, policy=POLICY, hub=HUB, id_scope=ID_SCOPE)
        )
        return installation

    def start(self) -> tuple[Server, Target]:
        """Run `hublet up` until it says that it is ready.

        Raises:
            RuntimeError: it ended, or was not ready within a minute.
        """
        wait_file = self.directory / "ready.json"
        options = {
            "--config": self.configuration,
            "--state-dir": self.state,
            "--mqtt-port": 0,
            "--https-port": 0,
            "--control-port": 0,
            "--wait-file": wait_file,
        }
        command = [sys.executable, "-m", "emulator", "up", *(str(each) for pair in options.items() for each in pair)]
        server = Server(command, self.directory / "hublet.log")
        try:
            server.wait_for_file(wait_file)
        except RuntimeError:
            server.stop()
            raise
        ports = json.loads(wait_file.read_text())
        return server, Target(ports["mqtt_port"], self.state / "server-ca.pem")
