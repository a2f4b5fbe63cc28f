"""Packets out of a stream of bytes that comes in pieces of any size."""

from broker.packets.packet import MalformedPacket, Packet, PacketError, PacketTooLarge
from broker.packets.parse import check_first_byte, parse_packet

MAX_LENGTH_BYTES = 4


class PacketReader:
    """Cuts a stream into packets, and holds the first violation until the packets before it were delivered.

    `max_packet_bytes` (it may be changed at any time) bounds one packet, fixed header included, and with it what is
    held: a packet that announces more is refused before its body is waited for. Whole packets are read straight from
    the piece they came in.
    """

    __slots__ = ("_error", "_needed", "_pending", "max_packet_bytes")

    def __init__(self, max_packet_bytes: int) -> None:
        self.max_packet_bytes = max_packet_bytes
        self._pending = bytearray()
        self._needed = 0
        self._error: PacketError | None = None

    @property
    def error(self) -> PacketError | None:
        """What was wrong with the stream after the last packet delivered, or None; nothing is read after it."""
        return self._error

    def feed(self, data: bytes | bytearray | memoryview) -> list[Packet]:
        """Take the next piece of the stream and return the packets it completed; never raises for what a peer sent.

        A violation ends the list; look at `error` after the packets were dealt with.
        """
        if self._error is not None:
            return []
        if self._pending:
            self._pending += data
            if len(self._pending) < self._needed:
                return []
            data = bytes(self._pending)
            self._pending = bytearray()
        packets: list[Packet] = []
        try:
            self._read(bytes(data), packets)
        except PacketError as error:
            self._error = error
        return packets

    def _read(self, data: bytes, packets: list[Packet]) -> None:
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
                raise PacketTooLarge(
                    f"a packet has {end - position} bytes, at most {self.max_packet_bytes} are read here"
                )
            if end > size:
                self._hold(data, position, end - position)
                return
            packets.append(parse_packet(data[position], data[start:end]))
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
