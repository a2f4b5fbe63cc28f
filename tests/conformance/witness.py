"""Devices that remember every answer they were given, so that it can be held against a service that was killed."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker.packets import Connect
from certs.keys import KeyType, generate_key
from device_sim.credential import ClientCertificate
from device_sim.dialer import Dialer, read_trust_anchors
from device_sim.errors import ConnectionLost, RequestTimeout, ServerUnreachable
from device_sim.inbox import Inbox
from device_sim.mqtt import MqttClient
from device_sim.signing_request import format_signing_request
from tests.conformance.plain_device import DPS_API_VERSION, HUB_API_VERSION, Answer, certificates_of

# What a device lives through when the service dies; anything else is a fault of the service.
OUTAGES = (ConnectionLost, RequestTimeout, ServerUnreachable)
PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Site:
    """Where the service is, and whom to tell of each answer."""

    port: int
    id_scope: str
    ca_file: Path
    heard: Callable[[], None]
    dialer: Dialer = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dialer", Dialer(read_trust_anchors(self.ca_file)))


class Witness:
    """One device and what it was told; each step is tried until it is done, whatever happens to the service."""

    def __init__(self, site: Site, credential: ClientCertificate, messages: int) -> None:
        self._site = site
        self._credential = credential
        self._to_send = [json.dumps({"device": self.name, "number": number}) for number in range(messages)]
        self._key = generate_key(KeyType.P256)
        self._renewal: str | None = None  # request ID of a renewal that was answered with 202
        self.interruptions = 0
        self.accepted: list[str] = []
        self.outcomes: dict[str, dict[str, Any]] = {}
        self.certificates: list[ClientCertificate] = []
        self.acknowledged: list[str] = []

    @property
    def name(self) -> str:
        return self._credential.registration_id

    async def live(self) -> None:
        """Onboard, send all messages, renew once."""
        for step in (self._onboard, self._send, self._renew):
            while not await self._attempt(step):
                self.interruptions += 1
                await asyncio.sleep(PAUSE_SECONDS)

    async def _attempt(self, step: Callable[[], Any]) -> bool:
        try:
            await step()
        except OUTAGES:
            return False
        return True

    def _tell(self) -> None:
        self._site.heard()

    # --- DPS ---

    async def _onboard(self) -> None:
        async with self._dps() as (client, inbox):
            if not self.accepted:
                body = json.dumps({"csr": format_signing_request(self.name, self._key)}).encode()
                answer = await _ask(client, inbox, "$dps/registrations/PUT/iotdps-register/?$rid=1", body)
                assert answer.status == 202, answer
                self.accepted.append(answer.body["operationId"])
                self._tell()
            operation = self.accepted[-1]
            answer = await self._poll(client, inbox, operation)
        self.outcomes[operation] = answer.body
        self._keep(answer.state["issuedCertificateChain"])

    async def _poll(self, client: MqttClient, inbox: Inbox, operation: str) -> Answer:
        topic = f"$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={operation}"
        answer = await _ask(client, inbox, topic, b"")
        assert answer.status == 200, answer
        assert answer.body["status"] == "assigned", answer
        return answer

    def _dps(self) -> "_Connection":
        user_name = f"{self._site.id_scope}/registrations/{self.name}/api-version={DPS_API_VERSION}"
        return _Connection(self._site, self._credential, self.name, user_name, "$dps/registrations/res/")

    # --- hub ---

    def _hub(self, certificate: ClientCertificate) -> "_Connection":
        user_name = f"localhost/{self.name}/?api-version={HUB_API_VERSION}"
        return _Connection(self._site, certificate, self.name, user_name, "$iothub/credentials/res/")

    async def _send(self) -> None:
        async with self._hub(self.certificates[-1]) as (client, _):
            while self._to_send:
                body = self._to_send[0]
                await client.publish(f"devices/{self.name}/messages/events/$.ct=application%2Fjson", body.encode())
                self.acknowledged.append(self._to_send.pop(0))
                self._tell()

    async def _renew(self) -> None:
        async with self._hub(self.certificates[-1]) as (client, inbox):
            if self._renewal is None:
                body = {"id": self.name, "csr": format_signing_request(self.name, self._key), "replace": "*"}
                topic = f"$iothub/credentials/POST/issueCertificate/?$rid=renew{self.interruptions:04}"
                answer = await _ask(client, inbox, topic, json.dumps(body).encode())
                if answer.status == 202:
                    self._renewal = answer.request_id
                    self._tell()
                    answer = Answer.of(*await _take(inbox))
            else:
                # It was accepted, so its result is there: it comes with the subscription.
                answer = Answer.of(*await _take(inbox))
                assert answer.request_id == self._renewal
        assert answer.status == 200, answer
        self._keep(answer.body["certificates"])

    def _keep(self, chain: list[str]) -> None:
        self.certificates.append(ClientCertificate(tuple(certificates_of(chain)), self._key))
        self._tell()

    # --- what is checked afterwards ---

    async def assert_remembered(self) -> None:
        """Check that the service stands by every answer, and still takes every certificate."""
        async with self._dps() as (client, inbox):
            for operation in self.accepted:
                answer = await self._poll(client, inbox, operation)
                assert answer.body == self.outcomes[operation], f"{self.name}: {operation} changed"
        for certificate in self.certificates:
            async with self._hub(certificate):
                pass


class _Connection:
    """A connection with its inbox, closed with the block."""

    def __init__(self, site: Site, certificate: ClientCertificate, client_id: str, user_name: str, prefix: str) -> None:
        self._site, self._certificate, self._prefix = site, certificate, prefix
        self._connect = Connect(client_id, clean_session=False, keep_alive_seconds=60, user_name=user_name)
        self._client = MqttClient(f"localhost:{site.port}", 10)

    async def __aenter__(self) -> tuple[MqttClient, Inbox]:
        try:
            await self._site.dialer.open("localhost", self._site.port, self._client, self._certificate, 10)
            await self._client.connect(self._connect)
            inbox = Inbox(self._client, self._prefix)
            await self._client.subscribe([f"{self._prefix}#"])
        except BaseException:
            self._client.abort()
            raise
        return self._client, inbox

    async def __aexit__(self, *_error: object) -> None:
        with suppress(*OUTAGES):
            await self._client.disconnect()


async def _ask(client: MqttClient, inbox: Inbox, topic: str, body: bytes) -> Answer:
    await client.publish(topic, body)
    wanted = topic.partition("$rid=")[2].partition("&")[0]
    while True:
        answer = Answer.of(*await _take(inbox))
        if answer.request_id == wanted:  # else the result of a request that a break has cut off
            return answer


async def _take(inbox: Inbox) -> tuple[str, bytes]:
    message = await inbox.get()
    return message.topic, message.payload


async def live_all(witnesses: list[Witness], concurrency: int, act: Callable[[Witness], Any]) -> None:
    """Do something with every witness, some at a time."""

    async def work(rest: Iterator[Witness]) -> None:
        for witness in rest:
            await act(witness)

    waiting = iter(witnesses)
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work(waiting))
