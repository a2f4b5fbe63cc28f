"""Packets out of a stream of bytes that comes in pieces of any size."""

from collections.abc import Iterator

from broker.packets.packet import MalformedPacket, Packet, PacketTooLarge
from broker.packets.parse import check_first_byte, parse_packet

MAX_LENGTH_BYTES = 4


class PacketReader:
    """Cuts a stream into packets; a violation is raised only after the packets before it were delivered.

    `max_packet_bytes` bounds one packet, fixed header included, and with it what is held: a packet that announces
    more is refused before its body is waited for. It may be changed at any time, and counts from the next packet.
    """

    __slots__ = ("_error", "_needed", "_pending", "max_packet_bytes")

    def __init__(self, max_packet_bytes: int) -> None:
        self.max_packet_bytes = max_packet_bytes
        self._pending = bytearray()
        self._needed = 0
        self._error: MalformedPacket | None = None

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Packet]:
        """Take the next piece of the stream and give the packets it completes, one by one.

        The iterator must be run to its end before the next piece is fed. After a violation every piece raises it.

        Raises:
            MalformedPacket: the stream breaks a rule of MQTT 3.1.1, after the packets before the violation.
            PacketTooLarge: a packet is longer than `max_packet_bytes`.
            UnacceptableProtocolVersion: a CONNECT of another version of MQTT.
        """
        if self._error is not None:
            raise self._error
        if self._pending:
            self._pending += data
            if len(self._pending) < self._needed:
                return
            data, self._pending = self._pending, bytearray()
        try:
            yield from self._cut(bytes(data))
        except MalformedPacket as error:
            self._error = error
            raise

    def _cut(self, data: bytes) -> Iterator[Packet]:
        size = len(data)
        position = 0
        while position + 1 < size:
            length = data[position + 1]
            start = position + 2
            if length > 0x7F:
                length, start = _parse_remaining_length(data, position + 1)
                if length < 0:
                    break
            end = start + length
            if end - position > self.max_packet_bytes:
                raise PacketTooLarge(f"a packet has {end - position} bytes, at most {self.max_packet_bytes} are read")
            if end > size:
                self._hold(data, position, end - position)
                return
            yield parse_packet(data[position], data[start:end])
            position = end
        if position < size:
            self._hold(data, position, size - position + 1)

    def _hold(self, data: bytes, position: int, needed: int) -> None:
        check_first_byte(data[position])
        self._pending += data[position:]
        self._needed = needed


def _parse_remaining_length(data: bytes, position: int) -> tuple[int, int]:
    """Return the length and where the body starts; a length of -1 says that the bytes end inside it."""
    length = 0
    for count in range(MAX_LENGTH_BYTES):
        if position + count >= len(data):
            return -1, position
        byte = data[position + count]
        length |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return length, position + count + 1
    raise MalformedPacket(f"a remaining length has more than {MAX_LENGTH_BYTES} bytes (§2.2.3)")
