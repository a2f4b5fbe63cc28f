"""A packet's value to its bytes: one function for each packet type, and the table that chooses it."""

from collections.abc import Callable
from typing import Any

from broker.packets.packet import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)

MAX_TEXT_BYTES = 65_535
MAX_REMAINING_LENGTH = 268_435_455


def format_packet(packet: Packet) -> bytes:
    """Write one packet, fixed header included.

    Raises:
        ValueError: a value does not fit the wire: a text of more than 65535 bytes, a packet identifier outside
            1 to 65535, a QoS above 2, a packet of more than 268,435,455 bytes.
    """
    return FORMATTERS[type(packet)](packet)


def format_connect(packet: Connect) -> bytes:
    """Write a CONNECT."""
    flags = 0x02 if packet.clean_session else 0
    payload = _text(packet.client_id)
    if packet.will is not None:
        flags |= 0x04 | _qos(packet.will.qos) << 3 | (0x20 if packet.will.retain else 0)
        payload += _text(packet.will.topic) + _binary(packet.will.payload)
    if packet.user_name is not None:
        flags |= 0x80
        payload += _text(packet.user_name)
    if packet.password is not None:
        if packet.user_name is None:
            raise ValueError("a password without a user name [MQTT-3.1.2-22]")
        flags |= 0x40
        payload += _binary(packet.password)
    header = b"\x00\x04MQTT\x04" + bytes((flags,)) + _uint16(packet.keep_alive_seconds, "keep alive")
    return _packet(0x10, header + payload)


def format_connack(packet: Connack) -> bytes:
    """Write a CONNACK."""
    return bytes((0x20, 2, packet.session_present, packet.return_code))


def format_publish(packet: Publish) -> bytes:
    """Write a PUBLISH."""
    topic = packet.topic.encode()
    if not 0 < len(topic) <= MAX_TEXT_BYTES:
        raise ValueError(f"a topic has {len(topic)} bytes, it must have 1 to {MAX_TEXT_BYTES} (§1.5.3)")
    flags = 0x30 | _qos(packet.qos) << 1 | packet.retain | packet.dup << 3
    if not packet.qos:
        if packet.packet_id is not None:
            raise ValueError("a PUBLISH with QoS 0 has a packet identifier [MQTT-2.3.1-5]")
        return _packet(flags, b"%c%c%b%b" % (len(topic) >> 8, len(topic) & 0xFF, topic, packet.payload))
    packet_id = packet.packet_id or 0
    return _packet(
        flags, b"%c%c%b%b%b" % (len(topic) >> 8, len(topic) & 0xFF, topic, _packet_id(packet_id), packet.payload)
    )


def format_puback(packet: Puback) -> bytes:
    """Write a PUBACK."""
    return b"\x40\x02" + _packet_id(packet.packet_id)


def format_pubrec(packet: Pubrec) -> bytes:
    """Write a PUBREC."""
    return b"\x50\x02" + _packet_id(packet.packet_id)


def format_pubrel(packet: Pubrel) -> bytes:
    """Write a PUBREL."""
    return b"\x62\x02" + _packet_id(packet.packet_id)


def format_pubcomp(packet: Pubcomp) -> bytes:
    """Write a PUBCOMP."""
    return b"\x70\x02" + _packet_id(packet.packet_id)


def format_subscribe(packet: Subscribe) -> bytes:
    """Write a SUBSCRIBE."""
    filters = b"".join(_text(topic_filter) + bytes((_qos(qos),)) for topic_filter, qos in packet.topic_filters)
    return _packet(0x82, _packet_id(packet.packet_id) + filters)


def format_suback(packet: Suback) -> bytes:
    """Write a SUBACK."""
    return _packet(0x90, _packet_id(packet.packet_id) + bytes(packet.return_codes))


def format_unsubscribe(packet: Unsubscribe) -> bytes:
    """Write an UNSUBSCRIBE."""
    return _packet(0xA2, _packet_id(packet.packet_id) + b"".join(map(_text, packet.topic_filters)))


def format_unsuback(packet: Unsuback) -> bytes:
    """Write an UNSUBACK."""
    return b"\xb0\x02" + _packet_id(packet.packet_id)


def format_pingreq(_: Pingreq) -> bytes:
    """Write a PINGREQ."""
    return b"\xc0\x00"


def format_pingresp(_: Pingresp) -> bytes:
    """Write a PINGRESP."""
    return b"\xd0\x00"


def format_disconnect(_: Disconnect) -> bytes:
    """Write a DISCONNECT."""
    return b"\xe0\x00"


def _packet(first_byte: int, body: bytes) -> bytes:
    length = len(body)
    if length < 0x80:
        return bytes((first_byte, length)) + body
    return bytes((first_byte,)) + format_remaining_length(length) + body


def format_remaining_length(length: int) -> bytes:
    """Write a remaining length in 1 to 4 bytes of 7 bits, the lowest first (§2.2.3)."""
    if length > MAX_REMAINING_LENGTH:
        raise ValueError(f"a packet has {length} bytes after its header, at most {MAX_REMAINING_LENGTH} fit (§2.2.3)")
    encoded = bytearray()
    while length > 0x7F:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded)


def _packet_id(packet_id: int) -> bytes:
    if not 0 < packet_id < 0x10000:
        raise ValueError(f"the packet identifier is {packet_id}, it must be 1 to 65535 [MQTT-2.3.1-1]")
    return packet_id.to_bytes(2, "big")


def _qos(qos: int) -> int:
    if qos not in (0, 1, 2):
        raise ValueError(f"the QoS is {qos}, it must be 0, 1 or 2 [MQTT-3.3.1-4]")
    return qos


def _uint16(value: int, field: str) -> bytes:
    if not 0 <= value < 0x10000:
        raise ValueError(f"the {field} is {value}, it must be 0 to 65535")
    return value.to_bytes(2, "big")


def _binary(value: bytes) -> bytes:
    if len(value) > MAX_TEXT_BYTES:
        raise ValueError(f"a field has {len(value)} bytes, at most {MAX_TEXT_BYTES} fit (§1.5.3)")
    return len(value).to_bytes(2, "big") + value


def _text(text: str) -> bytes:
    return _binary(text.encode())


# The values' types are known to the table, not to the type checker.
FORMATTERS: dict[type[Packet], Callable[[Any], bytes]] = {
    Connect: format_connect,
    Connack: format_connack,
    Publish: format_publish,
    Puback: format_puback,
    Pubrec: format_pubrec,
    Pubrel: format_pubrel,
    Pubcomp: format_pubcomp,
    Subscribe: format_subscribe,
    Suback: format_suback,
    Unsubscribe: format_unsubscribe,
    Unsuback: format_unsuback,
    Pingreq: format_pingreq,
    Pingresp: format_pingresp,
    Disconnect: format_disconnect,
}
