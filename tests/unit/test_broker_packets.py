import json
import re
from pathlib import Path
from typing import Any

import pytest

from broker import packets
from broker.gateway import Will
from broker.packets import (
    Connack,
    Connect,
    MalformedPacket,
    PacketReader,
    PacketTooLarge,
    Pingreq,
    Puback,
    Publish,
    Suback,
    Subscribe,
    UnacceptableProtocolVersion,
    format_packet,
    parse_packet,
)
from broker.packets.format import MAX_REMAINING_LENGTH, format_remaining_length

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "mqtt_packets.json").read_text())
BINARY_FIELDS = ("payload", "password")


def packet_of(description: dict[str, Any]) -> packets.Packet:
    fields = {name: value for name, value in description.items() if name != "type"}
    for name in BINARY_FIELDS:
        if name in fields:
            fields[name] = bytes.fromhex(fields[name])
    if "will" in fields:
        will = fields["will"]
        fields["will"] = Will(will["topic"], bytes.fromhex(will["payload"]), will["qos"], will["retain"])
    for name in ("topic_filters", "return_codes"):
        if name in fields:
            fields[name] = tuple(tuple(item) if isinstance(item, list) else item for item in fields[name])
    packet: packets.Packet = getattr(packets, description["type"])(**fields)
    return packet


def cases(key: str) -> list[Any]:
    return [pytest.param(vector, id=vector["id"]) for vector in VECTORS if key in vector["expect"]]


@pytest.mark.parametrize("vector", cases("packet"))
def test_bytes_of_the_vector_are_read_as_its_packet(vector: dict[str, Any]) -> None:
    reader = PacketReader(1000)
    assert list(reader.feed(bytes.fromhex(vector["input"]))) == [packet_of(vector["expect"]["packet"])]


@pytest.mark.parametrize("vector", cases("packet"))
def test_packet_of_the_vector_is_written_as_its_bytes(vector: dict[str, Any]) -> None:
    written = format_packet(packet_of(vector["expect"]["packet"]))
    assert (written == bytes.fromhex(vector["input"])) == vector["expect"].get("canonical", True)


@pytest.mark.parametrize("vector", cases("packet"))
def test_every_truncated_prefix_waits_for_more(vector: dict[str, Any]) -> None:
    whole = bytes.fromhex(vector["input"])
    for size in range(len(whole)):
        reader = PacketReader(1000)
        assert list(reader.feed(whole[:size])) == []
        assert list(reader.feed(whole[size:])) == [packet_of(vector["expect"]["packet"])]


@pytest.mark.parametrize("vector", cases("error"))
def test_bytes_of_the_vector_are_refused_by_the_clause_it_names(vector: dict[str, Any]) -> None:
    clause = vector["source"].removeprefix("MQTT 3.1.1 ")
    with pytest.raises(getattr(packets, vector["expect"]["error"]), match=re.escape(clause)):
        list(PacketReader(1000).feed(bytes.fromhex(vector["input"])))


def test_body_may_be_a_memoryview() -> None:
    assert parse_packet(0x40, memoryview(b"\x00\x07")) == Puback(7)


def test_unacceptable_version_tells_what_was_asked_for() -> None:
    with pytest.raises(UnacceptableProtocolVersion) as refused:
        parse_packet(0x10, b"\x00\x06MQIsdp\x03")
    assert (refused.value.protocol_name, refused.value.protocol_level) == ("MQIsdp", 3)


def test_packets_before_a_violation_are_delivered_and_nothing_after_it() -> None:
    reader = PacketReader(1000)
    good = format_packet(Puback(1)) + format_packet(Pingreq())
    read = reader.feed(good + b"\xf0\x00" + good)
    assert [next(read), next(read)] == [Puback(1), Pingreq()]
    with pytest.raises(MalformedPacket, match="reserved"):
        next(read)
    with pytest.raises(MalformedPacket, match="reserved"):
        list(reader.feed(good))


def test_packets_over_several_pieces_come_in_order() -> None:
    reader = PacketReader(1000)
    stream = b"".join(format_packet(Puback(number)) for number in range(1, 6))
    assert list(reader.feed(stream[:6])) == [Puback(1)]
    assert list(reader.feed(memoryview(stream)[6:7])) == []
    assert list(reader.feed(bytearray(stream[7:]))) == [Puback(2), Puback(3), Puback(4), Puback(5)]


def test_packet_of_exactly_the_limit_is_read() -> None:
    packet = Publish("a", b"x" * 95)
    assert len(format_packet(packet)) == 100
    assert list(PacketReader(100).feed(format_packet(packet))) == [packet]


def test_packet_over_the_limit_is_refused_before_its_body_comes() -> None:
    read = PacketReader(100).feed(format_packet(Puback(9)) + b"\x30\x63")
    assert next(read) == Puback(9)
    with pytest.raises(PacketTooLarge, match="101 bytes, at most 100"):
        next(read)


def test_limit_changed_between_two_packets_counts_for_the_second() -> None:
    reader = PacketReader(4)
    large = Publish("a", b"x" * 95)
    read = reader.feed(format_packet(Puback(9)) + format_packet(large))
    assert next(read) == Puback(9)
    reader.max_packet_bytes = 100
    assert list(read) == [large]


@pytest.mark.parametrize("start", [b"G", b"\x00", b"\xf1", b"\x36", b"\x38\x7f", b"\x80\xff"], ids=bytes.hex)
def test_impossible_first_byte_is_refused_before_the_body_comes(start: bytes) -> None:
    with pytest.raises(MalformedPacket):
        list(PacketReader(1000).feed(start))


def test_large_packet_in_single_bytes_is_read() -> None:
    packet = Publish("a", b"x" * 70_000, 1, packet_id=3)
    reader = PacketReader(100_000)
    got = [read for byte in format_packet(packet) for read in reader.feed(bytes((byte,)))]
    assert got == [packet]


@pytest.mark.parametrize(
    ("length", "encoded"),
    [(0, "00"), (127, "7f"), (128, "8001"), (16_383, "ff7f"), (16_384, "808001"), (2_097_151, "ffff7f"),
     (2_097_152, "80808001"), (268_435_455, "ffffff7f")],
)  # fmt: skip
def test_remaining_length_is_written_as_in_table_2_4(length: int, encoded: str) -> None:
    assert format_remaining_length(length).hex() == encoded


def test_remaining_length_of_more_than_four_bytes_is_not_written() -> None:
    with pytest.raises(ValueError, match="268435456 bytes"):
        format_remaining_length(MAX_REMAINING_LENGTH + 1)


@pytest.mark.parametrize(
    ("packet", "message"),
    [
        (Publish("a", b"", 1), "packet identifier is 0"),
        (Publish("a", b"", 1, packet_id=65_536), "packet identifier is 65536"),
        (Publish("a", b"", 0, packet_id=1), "QoS 0 has a packet identifier"),
        (Publish("a", b"", 3, packet_id=1), "QoS is 3"),
        (Publish(""), "0 bytes"),
        (Publish("é" * 32_768), "65536 bytes"),
        (Publish("\ud800"), "surrogates not allowed"),
        (Puback(0), "packet identifier is 0"),
        (Subscribe(1, (("a", 3),)), "QoS is 3"),
        (Suback(-1, (0,)), "packet identifier is -1"),
        (Connect("d", password=b"p"), "password without a user name"),
        (Connect("d", keep_alive_seconds=65_536), "keep alive is 65536"),
        (Connect("d" * 65_536), "65536 bytes"),
        (Connack(session_present=False, return_code=256), "range"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_value_that_does_not_fit_the_wire_is_not_written(packet: packets.Packet, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        format_packet(packet)
