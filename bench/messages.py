"""A load of QoS 1 messages that does not make the server wait: records are encrypted before the run.

A generator that encrypts and decrypts while it sends is slower than the server; the server then wakes up for every
single message, which costs it more than the message. So each client's TLS records are made beforehand (those of one
direction do not depend on the other), a plain loop exchanges them one in flight per client, and the answers are
decrypted and checked afterwards.
"""

import os
import select
import socket
from dataclasses import dataclass, field

from OpenSSL import SSL

from bench.client import Client, Refused
from broker.packets import PacketReader, Puback, Publish, format_packet

PAYLOAD = b'{"temperature":21.5}'.ljust(128)
POLL_SECONDS = 30.0
# A PUBACK of 4 bytes in a record: header, content type (1.3) or explicit nonce (1.2), and tag of an AEAD cipher.
MIN_PUBACK_RECORD_BYTES = 5 + 4 + 16


@dataclass(slots=True)
class Lane:
    """One client's connection, taken off the event loop, with the records it is going to send, the last one first."""

    client: Client
    sock: socket.socket
    tls: SSL.Connection
    records: list[bytes]
    answers: list[bytes] = field(default_factory=list)


def open_lane(client: Client, count: int) -> Lane:
    """Take a connected client off its event loop and encrypt its next `count` messages (at most 65,535)."""
    transport = client.transport
    assert transport is not None
    transport.pause_reading()
    tls = transport._tls
    sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    sock.setblocking(False)
    topic = f"devices/{client.client_id}/messages/events/"
    records = []
    for packet_id in range(1, count + 1):
        tls.send(format_packet(Publish(topic, PAYLOAD, qos=1, packet_id=packet_id)))
        records.append(tls.bio_read(16 * 1024))
    records.reverse()
    return Lane(client, sock, tls, records)


def exchange(lanes: list[Lane]) -> int:
    """Send everything, one message in flight per client, in the order of the answers; return how many were sent.

    Raises:
        Refused: the server closed a connection, or said nothing for 30 seconds.
    """
    poll = select.epoll()
    by_descriptor = {lane.sock.fileno(): lane for lane in lanes}
    for descriptor, lane in by_descriptor.items():
        poll.register(descriptor, select.EPOLLIN)
        lane.sock.send(lane.records.pop())
    open_lanes, count = len(lanes), len(lanes)
    while open_lanes:
        ready = poll.poll(POLL_SECONDS)
        if not ready:
            raise Refused(f"no PUBACK for {POLL_SECONDS:g} s")
        for descriptor, _ in ready:
            lane = by_descriptor[descriptor]
            answer = lane.sock.recv(4096)
            if len(answer) < MIN_PUBACK_RECORD_BYTES:
                raise Refused(f"a record of {len(answer)} bytes instead of a PUBACK")
            lane.answers.append(answer)
            if lane.records:
                lane.sock.send(lane.records.pop())
                count += 1
            else:
                poll.unregister(descriptor)
                open_lanes -= 1
    poll.close()
    return count


def count_answers(lanes: list[Lane]) -> int:
    """Decrypt what came back, close the connections, and return how many PUBACKs there were, each in its turn.

    Raises:
        Refused: something else came back.
    """
    return sum(_count_answers(lane) for lane in lanes)


def _count_answers(lane: Lane) -> int:
    reader = PacketReader(4096)
    expected = 0
    for answer in lane.answers:
        lane.tls.bio_write(answer)
        for packet in reader.feed(lane.tls.recv(4096)):
            expected += 1
            if packet != Puback(expected):
                raise Refused(f"{packet} instead of {Puback(expected)}")
    lane.sock.close()
    if lane.client.transport is not None:
        lane.client.transport.abort()
    return expected
