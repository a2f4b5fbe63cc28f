"""The published renewal scenarios over the wire: a device for each vector, all of them at the same time."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from certs.authority import MAX_COMMON_NAME
from tests.conformance.plain_device import (
    DpsClient,
    HubClient,
    Pair,
    certificates_of,
    csr_text,
    key_pem,
    p256,
    pem_of,
    tls_context,
)
from tests.conformance.running_emulator import RunningEmulator, start_emulator

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "hub_credentials.json").read_text(encoding="utf-8"))
ANSWERS = "$iothub/credentials/res/#"
REQUEST = "$iothub/credentials/POST/issueCertificate/"
# The hub looks once a second for what is due.
ISSUING_DELAY_SECONDS, TICK_SECONDS, GRACE_SECONDS = 2.0, 1.0, 0.5
CONFIG = f"""
namespaces: {{default: {{policies: {{default: {{}}}}}}}}
hubs: {{hub1: {{namespace: default, issuing_delay_seconds: {ISSUING_DELAY_SECONDS}}}}}
dps: {{dps1: {{namespace: default, enrollment_groups: {{dev-ca: {{ca: dev-ca, credential_policy: default}}}}}}}}
"""


@dataclass
class Outcome:
    """What the device of a scenario heard over all its connections, and whether it was still connected at the end."""

    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    is_connected: bool = False


class Actor:
    """A device that has onboarded and plays the steps of one vector."""

    def __init__(self, emulator: RunningEmulator, device_id: str, directory: Path) -> None:
        self._emulator = emulator
        self._device_id = device_id
        self._pair = self._onboarded(directory)
        self._hub: HubClient | None = None
        self.outcome = Outcome()

    def play(self, clean: bool, steps: list[dict[str, Any]]) -> Outcome:
        self._connect(clean)
        for step in steps:
            self._take(step)
        self._disconnect()
        return self.outcome

    def _take(self, step: dict[str, Any]) -> None:
        hub = self._hub
        match step["do"]:
            case "subscribe" if hub:
                hub.subscribe(ANSWERS)
            case "unsubscribe" if hub:
                hub.unsubscribe(ANSWERS)
            case "publish" if hub:
                hub.publish(REQUEST + (f"?$rid={step['rid']}" if step["rid"] else ""), self._payload(step))
            case "issue":
                time.sleep(ISSUING_DELAY_SECONDS + TICK_SECONDS + GRACE_SECONDS)
            case "disconnect":
                self._disconnect()
            case "reconnect":
                self._disconnect()
                self._connect(step["clean"])

    def _payload(self, step: dict[str, Any]) -> bytes:
        if "text" in step:
            return str(step["text"]).encode()
        body = dict(step["body"])
        known = {"$csr": csr_text(self._device_id, p256()), "$10KB": "A" * 10240}
        body["csr"] = known.get(body["csr"], body["csr"])
        body["id"] = body["id"].replace("sensor-001", self._device_id)
        return json.dumps(body).encode()

    def _connect(self, clean: bool) -> None:
        context = tls_context(self._emulator.ca_file, self._pair)
        hub = HubClient.make(self._emulator.mqtt_port, context, "localhost", self._device_id, clean_session=clean)
        self._hub = hub.connected()

    def _disconnect(self) -> None:
        if self._hub is None:
            return
        time.sleep(GRACE_SECONDS)  # for what is on its way, such as the 202
        self.outcome.is_connected = self._hub.is_connected
        self._hub.close()
        while not self._hub.messages.empty():
            topic, payload = self._hub.messages.get()
            self.outcome.heard.append((topic, json.loads(payload)))
        self._hub = None

    def _onboarded(self, directory: Path) -> Pair:
        device, key, emulator = self._device_id, p256(), self._emulator
        context = tls_context(emulator.ca_file, emulator.onboarding_pair(device, directory))
        with DpsClient.make(emulator.mqtt_port, context, emulator.id_scope(), device).connected() as dps:
            answer = dps.onboard({"csr": csr_text(device, key)})
        chain = certificates_of(answer.state["issuedCertificateChain"])
        return Pair.write(directory, device, pem_of(*chain[:2]), key_pem(key))


def perform(emulator: RunningEmulator, vector: dict[str, Any], directory: Path) -> Outcome:
    actor = Actor(emulator, f"scenario-{vector['id']}"[:MAX_COMMON_NAME], directory)
    return actor.play(vector["input"]["clean"], vector["input"]["steps"])


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    """The outcome of every vector; together they take as long as the longest."""
    directory = tmp_path_factory.mktemp("renewals")
    emulator = start_emulator(directory, config=CONFIG)
    try:
        with ThreadPoolExecutor(len(VECTORS)) as pool:
            running = {each["id"]: pool.submit(perform, emulator, each, directory) for each in VECTORS}
        yield {name: each.result() for name, each in running.items()}
    finally:
        emulator.stop()


@pytest.mark.parametrize("vector", [pytest.param(each, id=each["id"]) for each in VECTORS])
def test_client_hears_what_the_scenario_says(vector: dict[str, Any], outcomes: dict[str, Outcome]) -> None:
    """The same vectors as the unit test's, here through TLS, broker, store and clock of a real emulator."""
    outcome, expected = outcomes[vector["id"]], vector["expect"]
    assert [topic for topic, _ in outcome.heard] == [
        f"$iothub/credentials/res/{answer['status']}/?$rid={answer['rid']}" for answer in expected
    ]
    for (_, body), answer in zip(outcome.heard, expected, strict=True):
        assert body.get("errorCode") == answer.get("errorCode")
        assert ("certificates" in body) == (answer["status"] == 200)
    assert outcome.is_connected
