"""Slow and malformed HTTP clients against the HTTPS front, over loopback sockets and real TLS."""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding

from broker.connection import Connection
from broker.tls import server_context
from certs.authority import CertificateAuthority
from certs.keys import KeyType, generate_key
from emulator.https import HttpsFront

PATIENCE_SECONDS = 5.0


def no_connection() -> Connection:
    raise AssertionError("nobody asked for a WebSocket")


async def slow_api(request: web.BaseRequest) -> web.StreamResponse:
    """Read the body, then take longer to answer than a body may take."""
    body = await request.read()
    await asyncio.sleep(0.3)
    return web.Response(body=body)


async def long_api(request: web.BaseRequest) -> web.StreamResponse | None:
    """Answer with more than the buffers on the way hold, over and over."""
    return web.Response(body=bytes(1 << 20)) if request.path == "/long" else None


class Streams:
    """One TLS connection to the front."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def rest(self) -> bytes:
        """What comes before the connection ends."""
        try:
            return await asyncio.wait_for(self.reader.read(), PATIENCE_SECONDS)
        except ConnectionError:
            return b""


class Door:
    """The front, and clients for it."""

    def __init__(self) -> None:
        now, key = datetime.now(UTC), generate_key(KeyType.P256)
        ca = CertificateAuthority.create_root("server CA", now, key_type=KeyType.P256)
        server = ca.issue_server(["localhost"], key.public_key(), now, validity=timedelta(days=1))
        self.context = ssl.create_default_context(cadata=ca.certificate.public_bytes(Encoding.PEM).decode())
        self.front = HttpsFront(
            server_context([(server, key)]),
            no_connection,
            [long_api, slow_api],
            idle_seconds=0.2,
            body_seconds=0.2,
            unread_seconds=0.5,
        )
        self.port = 0

    async def open(self) -> None:
        self.port = await self.front.tls.listen(["127.0.0.1"], 0)

    async def client(self, sent: bytes) -> Streams:
        made = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.context, server_hostname="localhost")
        streams = Streams(*made)
        streams.writer.write(sent)
        return streams


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    await door.open()
    yield door
    await door.front.close()


HEAD = b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"


@pytest.mark.parametrize("sent", [b"", b"POST", HEAD, HEAD + b"\r\n", HEAD + b"\r\nabcd"])
async def test_request_that_does_not_end_is_given_up(door: Door, sent: bytes) -> None:
    """A client that connects and says nothing, or half of what it has to say, does not keep its connection."""
    client = await door.client(sent)
    assert await client.rest() == b""
    client.writer.close()


async def test_dripping_head_buys_no_time(door: Door) -> None:
    """Bytes of a head that never ends are no request."""
    client = await door.client(HEAD)
    ended = asyncio.create_task(client.rest())
    while not ended.done():
        client.writer.write(b"x: y\r\n")
        await asyncio.sleep(0.01)
    assert await ended == b""
    client.writer.close()


async def test_answer_may_take_its_time(door: Door) -> None:
    """Only the client is hurried: a method call waits for its device for minutes."""
    client = await door.client(HEAD + b"\r\nabcde")
    answer = await client.rest()
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"abcde")
    client.writer.close()


async def test_malformed_request_is_one_line_in_the_log(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """What a client does wrong is no failure of ours: no traceback."""
    client = await door.client(b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n")
    assert b"400 Bad Request" in await client.rest()
    (record,) = [each for each in caplog.records if each.name == "emulator.http"]
    assert record.levelno == logging.WARNING
    assert record.exc_info is None
    assert "malformed" in record.getMessage()
    assert "\n" not in record.getMessage()
    client.writer.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system has no such option")
async def test_client_that_does_not_read_its_answers_is_dropped(door: Door) -> None:
    """Its answers wait for room, and nothing else would ever end that."""
    client = await door.client(b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n" * 30)
    client.writer.transport.pause_reading()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not door.front._web.connections:  # noqa: ASYNC110 - it is the network that is waited for
            await asyncio.sleep(0.01)
        while door.front._web.connections:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    client.writer.transport.abort()
