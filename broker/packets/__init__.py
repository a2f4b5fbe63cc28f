"""The MQTT 3.1.1 codec, for both directions: bytes in, frozen packets out, and back. Pure: no I/O, no amqtt.

Strict by the clauses of the standard, which each error names. Start at `packet.py` (the packets and the errors),
then `parse.py` and `format.py` (one function for each packet type), then `reader.py` (packets out of a stream).
"""

from broker.packets.format import format_packet
from broker.packets.packet import (
    Connack,
    Connect,
    Disconnect,
    MalformedPacket,
    Packet,
    PacketTooLarge,
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
from broker.packets.parse import parse_packet
from broker.packets.reader import PacketReader

__all__ = [
    "Connack",
    "Connect",
    "Disconnect",
    "MalformedPacket",
    "Packet",
    "PacketReader",
    "PacketTooLarge",
    "Pingreq",
    "Pingresp",
    "Puback",
    "Pubcomp",
    "Publish",
    "Pubrec",
    "Pubrel",
    "Suback",
    "Subscribe",
    "UnacceptableProtocolVersion",
    "Unsuback",
    "Unsubscribe",
    "format_packet",
    "parse_packet",
]
