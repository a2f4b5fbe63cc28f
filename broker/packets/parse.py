"""Bytes of one packet to its value: one function for each packet type, and the table that chooses it.

The functions take the lower half of the first byte (the flags) and the body without the fixed header. What they
refuse they refuse with the clause of MQTT 3.1.1 in the message. `parse_publish` is the hot path: it is spelled out.
"""

from collections.abc import Callable

from broker.gateway import Will
from broker.packets.packet import (
    Connack,
    Connect,
    Disconnect,
    MalformedPacket,
    Packet,
    PacketType,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    UnacceptableProtocolVersion,
    Unsuback,
    Unsubscribe,
)

PROTOCOL_LEVEL = 4
SUBSCRIPTION_REFUSED = 0x80


def parse_packet(first_byte: int, body: bytes | memoryview) -> Packet:
    """Read one packet from its first byte and all that follows the remaining length.

    Raises:
        MalformedPacket: the packet breaks a rule of MQTT 3.1.1.
        UnacceptableProtocolVersion: a CONNECT of another version of MQTT.
    """
    if type(body) is not bytes:
        body = bytes(body)
    return PARSERS[first_byte >> 4](first_byte & 0x0F, body)


def check_first_byte(first_byte: int) -> None:
    """Refuse a type or flags that no body could mend, before the body is waited for.

    Raises:
        MalformedPacket: a reserved packet type, or flags that the type does not allow.
    """
    packet_type, flags = first_byte >> 4, first_byte & 0x0F
    if packet_type in (0, 15):
        parse_reserved_type(flags, b"")
    if packet_type == PacketType.PUBLISH:
        _check_publish_flags(flags)
    else:
        _check_flags(flags, REQUIRED_FLAGS[packet_type], PacketType(packet_type))


def parse_reserved_type(flags: int, body: bytes) -> Packet:  # noqa: ARG001 - one signature for the whole table
    """Refuse packet types 0 and 15."""
    raise MalformedPacket("packet types 0 and 15 are reserved (MQTT 3.1.1 table 2.1)")


def parse_connect(flags: int, body: bytes) -> Connect:
    """Read a CONNECT of MQTT level 4."""
    _check_flags(flags, 0, PacketType.CONNECT)
    protocol_name, position = _parse_text(body, 0, "protocol name")
    if protocol_name not in ("MQTT", "MQIsdp"):
        raise MalformedPacket("the protocol name of CONNECT is neither MQTT nor MQIsdp [MQTT-3.1.2-1]")
    if len(body) <= position:
        raise MalformedPacket("CONNECT ends before the protocol level (§3.1.2.2)")
    if protocol_name != "MQTT" or body[position] != PROTOCOL_LEVEL:
        raise UnacceptableProtocolVersion(protocol_name, body[position])
    if len(body) < position + 4:
        raise MalformedPacket("CONNECT ends before its flags and keep alive (§3.1.2)")
    return _parse_connect_payload(body, position + 4, body[position + 1], _uint16(body, position + 2))


def _parse_connect_payload(body: bytes, position: int, connect_flags: int, keep_alive_seconds: int) -> Connect:
    _check_connect_flags(connect_flags)
    client_id, position = _parse_text(body, position, "client identifier")
    will: Will | None = None
    user_name: str | None = None
    password: bytes | None = None
    if connect_flags & 0x04:
        topic, position = _parse_text(body, position, "will topic")
        _check_topic(topic)
        payload, position = _parse_binary(body, position, "will message")
        will = Will(topic, payload, connect_flags >> 3 & 3, bool(connect_flags & 0x20))
    if connect_flags & 0x80:
        user_name, position = _parse_text(body, position, "user name")
    if connect_flags & 0x40:
        password, position = _parse_binary(body, position, "password")
    _check_end(body, position, PacketType.CONNECT)
    return Connect(client_id, bool(connect_flags & 0x02), keep_alive_seconds, user_name, password, will)


def _check_connect_flags(connect_flags: int) -> None:
    if connect_flags & 0x01:
        raise MalformedPacket("bit 0 of the connect flags is set [MQTT-3.1.2-3]")
    if not connect_flags & 0x04 and connect_flags & 0x38:
        raise MalformedPacket("will QoS or will retain without a will [MQTT-3.1.2-11]")
    if connect_flags & 0x18 == 0x18:
        raise MalformedPacket("the will QoS is 3 [MQTT-3.1.2-14]")
    if connect_flags & 0xC0 == 0x40:
        raise MalformedPacket("a password without a user name [MQTT-3.1.2-22]")


def parse_connack(flags: int, body: bytes) -> Connack:
    """Read a CONNACK."""
    _check_flags(flags, 0, PacketType.CONNACK)
    if len(body) != 2:
        raise MalformedPacket(f"CONNACK has {len(body)} bytes after its header, it must have 2 (§3.2.1)")
    session_present, return_code = body
    if session_present > 1:
        raise MalformedPacket("reserved bits of the connect acknowledge flags are set (§3.2.2.1)")
    if return_code > 5:
        raise MalformedPacket(f"the return code {return_code} of CONNACK is reserved (§3.2.2.3)")
    if session_present and return_code:
        raise MalformedPacket("a refusing CONNACK says that a session is present [MQTT-3.2.2-4]")
    return Connack(bool(session_present), return_code)


def parse_publish(flags: int, body: bytes) -> Publish:
    """Read a PUBLISH."""
    qos = flags >> 1 & 3
    if qos == 3 or flags & 0x0E == 0x08:
        _check_publish_flags(flags)
    size = len(body)
    topic_end = 2 + (body[0] << 8 | body[1]) if size > 1 else 2
    payload_start = topic_end + 2 if qos else topic_end
    if size < payload_start:
        raise MalformedPacket("PUBLISH ends inside its topic or packet identifier (§3.3.2)")
    try:
        topic = body[2:topic_end].decode()
    except UnicodeDecodeError:
        raise MalformedPacket("the topic is not UTF-8 [MQTT-1.5.3-1]") from None
    if not topic or "+" in topic or "#" in topic or "\0" in topic:
        _check_topic(topic)
    if not qos:
        return Publish(topic, body[payload_start:], 0, flags & 1 == 1)
    packet_id = body[topic_end] << 8 | body[topic_end + 1]
    if not packet_id:
        raise MalformedPacket("PUBLISH has the packet identifier 0 [MQTT-2.3.1-1]")
    return Publish(topic, body[payload_start:], qos, flags & 1 == 1, flags & 8 == 8, packet_id)


def _check_publish_flags(flags: int) -> None:
    if flags & 0x06 == 0x06:
        raise MalformedPacket("PUBLISH has QoS 3 [MQTT-3.3.1-4]")
    if flags & 0x0E == 0x08:
        raise MalformedPacket("PUBLISH has DUP set with QoS 0 [MQTT-3.3.1-2]")


def parse_puback(flags: int, body: bytes) -> Puback:
    """Read a PUBACK."""
    return Puback(_parse_packet_id(flags, body, PacketType.PUBACK))


def parse_pubrec(flags: int, body: bytes) -> Pubrec:
    """Read a PUBREC."""
    return Pubrec(_parse_packet_id(flags, body, PacketType.PUBREC))


def parse_pubrel(flags: int, body: bytes) -> Pubrel:
    """Read a PUBREL."""
    return Pubrel(_parse_packet_id(flags, body, PacketType.PUBREL))


def parse_pubcomp(flags: int, body: bytes) -> Pubcomp:
    """Read a PUBCOMP."""
    return Pubcomp(_parse_packet_id(flags, body, PacketType.PUBCOMP))


def parse_unsuback(flags: int, body: bytes) -> Unsuback:
    """Read an UNSUBACK."""
    return Unsuback(_parse_packet_id(flags, body, PacketType.UNSUBACK))


def parse_subscribe(flags: int, body: bytes) -> Subscribe:
    """Read a SUBSCRIBE."""
    packet_id, position = _parse_leading_packet_id(flags, body, PacketType.SUBSCRIBE)
    topic_filters: list[tuple[str, int]] = []
    while position < len(body):
        topic_filter, position = _parse_topic_filter(body, position)
        if position == len(body):
            raise MalformedPacket("SUBSCRIBE ends before the requested QoS of a filter (§3.8.3)")
        qos = body[position]
        if qos > 2:
            raise MalformedPacket(f"the requested QoS byte is 0x{qos:02x}, it must be 0, 1 or 2 [MQTT-3-8.3-4]")
        topic_filters.append((topic_filter, qos))
        position += 1
    if not topic_filters:
        raise MalformedPacket("SUBSCRIBE has no topic filter [MQTT-3.8.3-3]")
    return Subscribe(packet_id, tuple(topic_filters))


def parse_suback(flags: int, body: bytes) -> Suback:
    """Read a SUBACK."""
    packet_id, position = _parse_leading_packet_id(flags, body, PacketType.SUBACK)
    return_codes = tuple(body[position:])
    if not return_codes:
        raise MalformedPacket("SUBACK has no return code [MQTT-3.8.4-5]")
    for return_code in return_codes:
        if return_code > 2 and return_code != SUBSCRIPTION_REFUSED:
            raise MalformedPacket(f"the return code 0x{return_code:02x} of SUBACK is reserved [MQTT-3.9.3-2]")
    return Suback(packet_id, return_codes)


def parse_unsubscribe(flags: int, body: bytes) -> Unsubscribe:
    """Read an UNSUBSCRIBE."""
    packet_id, position = _parse_leading_packet_id(flags, body, PacketType.UNSUBSCRIBE)
    topic_filters: list[str] = []
    while position < len(body):
        topic_filter, position = _parse_topic_filter(body, position)
        topic_filters.append(topic_filter)
    if not topic_filters:
        raise MalformedPacket("UNSUBSCRIBE has no topic filter [MQTT-3.10.3-2]")
    return Unsubscribe(packet_id, tuple(topic_filters))


def parse_pingreq(flags: int, body: bytes) -> Pingreq:
    """Read a PINGREQ."""
    _check_flags(flags, 0, PacketType.PINGREQ)
    _check_end(body, 0, PacketType.PINGREQ)
    return Pingreq()


def parse_pingresp(flags: int, body: bytes) -> Pingresp:
    """Read a PINGRESP."""
    _check_flags(flags, 0, PacketType.PINGRESP)
    _check_end(body, 0, PacketType.PINGRESP)
    return Pingresp()


def parse_disconnect(flags: int, body: bytes) -> Disconnect:
    """Read a DISCONNECT."""
    _check_flags(flags, 0, PacketType.DISCONNECT)
    _check_end(body, 0, PacketType.DISCONNECT)
    return Disconnect()


def is_topic_filter(text: str) -> bool:
    """Tell whether `#` stands alone in the last level only and `+` alone in its levels (§4.7.1, §4.7.3)."""
    if not text:
        return False
    if "#" not in text and "+" not in text:
        return True
    levels = text.split("/")
    return all(level in ("#", "+") or ("#" not in level and "+" not in level) for level in levels) and (
        "#" not in levels[:-1]
    )


def _check_flags(flags: int, required: int, packet_type: PacketType) -> None:
    if flags != required:
        raise MalformedPacket(
            f"{packet_type.name} has the flags 0x{flags:x}, they must be 0x{required:x} [MQTT-2.2.2-2]"
        )


def _check_end(body: bytes, position: int, packet_type: PacketType) -> None:
    if position != len(body):
        raise MalformedPacket(f"{packet_type.name} has {len(body) - position} bytes too many (§2.2.3)")


def _check_topic(topic: str) -> None:
    if not topic:
        raise MalformedPacket("a topic has no characters [MQTT-4.7.3-1]")
    if "\0" in topic:
        raise MalformedPacket("a topic holds U+0000 [MQTT-1.5.3-2]")
    if "+" in topic or "#" in topic:
        raise MalformedPacket("a topic holds a wildcard character [MQTT-3.3.2-2]")


def _uint16(body: bytes, position: int) -> int:
    return body[position] << 8 | body[position + 1]


def _parse_packet_id(flags: int, body: bytes, packet_type: PacketType) -> int:
    packet_id, position = _parse_leading_packet_id(flags, body, packet_type)
    _check_end(body, position, packet_type)
    return packet_id


def _parse_leading_packet_id(flags: int, body: bytes, packet_type: PacketType) -> tuple[int, int]:
    _check_flags(flags, REQUIRED_FLAGS[packet_type], packet_type)
    if len(body) < 2:
        raise MalformedPacket(f"{packet_type.name} ends inside its packet identifier (§2.3.1)")
    packet_id = _uint16(body, 0)
    if not packet_id:
        raise MalformedPacket(f"{packet_type.name} has the packet identifier 0 [MQTT-2.3.1-1]")
    return packet_id, 2


def _parse_binary(body: bytes, position: int, field: str) -> tuple[bytes, int]:
    start = position + 2
    if len(body) < start:
        raise MalformedPacket(f"the packet ends inside the length of its {field} (§1.5.3)")
    end = start + _uint16(body, position)
    if len(body) < end:
        raise MalformedPacket(f"the packet ends inside its {field} (§1.5.3)")
    return body[start:end], end


def _parse_text(body: bytes, position: int, field: str) -> tuple[str, int]:
    raw, end = _parse_binary(body, position, field)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise MalformedPacket(f"the {field} is not UTF-8 [MQTT-1.5.3-1]") from None
    if "\0" in text:
        raise MalformedPacket(f"the {field} holds U+0000 [MQTT-1.5.3-2]")
    return text, end


def _parse_topic_filter(body: bytes, position: int) -> tuple[str, int]:
    topic_filter, end = _parse_text(body, position, "topic filter")
    if not is_topic_filter(topic_filter):
        raise MalformedPacket("a topic filter is empty or misplaces a wildcard [MQTT-4.7.1-2, 4.7.1-3, 4.7.3-1]")
    return topic_filter, end


REQUIRED_FLAGS: tuple[int, ...] = tuple(0b0010 if number in (6, 8, 10) else 0 for number in range(16))

PARSERS: tuple[Callable[[int, bytes], Packet], ...] = (
    parse_reserved_type,
    parse_connect,
    parse_connack,
    parse_publish,
    parse_puback,
    parse_pubrec,
    parse_pubrel,
    parse_pubcomp,
    parse_subscribe,
    parse_suback,
    parse_unsubscribe,
    parse_unsuback,
    parse_pingreq,
    parse_pingresp,
    parse_disconnect,
    parse_reserved_type,
)
