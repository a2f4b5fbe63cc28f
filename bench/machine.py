"""What a run was measured on: the machine, and the versions of what takes part."""

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from OpenSSL import SSL

from bench.cores import GENERATOR_CORE, SERVER_CORE
from bench.mosquitto import find_mosquitto, mosquitto_version


def describe_machine() -> str:
    """Say when, on what, and with which versions."""
    program = find_mosquitto()
    packages = ", ".join(f"{name} {version(name)}" for name in ("cryptography", "pyOpenSSL", "amqtt"))
    openssl = SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode()
    reference = mosquitto_version(program) if program is not None else "mosquitto is not installed"
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {_processor()}, Linux {platform.release()}\n"
        f"server on core {SERVER_CORE}, generator on core {GENERATOR_CORE}\n"
        f"Python {platform.python_version()}, {packages}, {openssl}; {reference}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
