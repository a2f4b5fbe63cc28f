from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.gateway import Will
from broker.packets import (
    Connack,
    Connect,
    Disconnect,
    MalformedPacket,
    Packet,
    PacketReader,
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
    format_packet,
    parse_packet,
)
from broker.packets.parse import is_topic_filter

MAX_PACKET_BYTES = 10_000

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
topics = st.text(st.characters(exclude_characters="\0+#", exclude_categories=["Cs"]), min_size=1, max_size=40)
levels = st.one_of(
    st.just("+"), st.text(st.characters(exclude_characters="\0+#/", exclude_categories=["Cs"]), max_size=9)
)
topic_filters = st.builds(
    lambda names, rest: "/".join([*names, *rest]), st.lists(levels, max_size=4), st.sampled_from([["#"], ["end"]])
)
packet_ids = st.integers(1, 65_535)
wills = st.builds(Will, topics, st.binary(max_size=40), st.integers(0, 2), st.booleans())
connects = st.one_of(
    st.builds(
        Connect,
        texts,
        st.booleans(),
        st.integers(0, 65_535),
        texts,
        st.none() | st.binary(max_size=40),
        st.none() | wills,
    ),
    st.builds(Connect, texts, st.booleans(), st.integers(0, 65_535), st.none(), st.none(), st.none() | wills),
)
publishes = st.one_of(
    st.builds(Publish, topics, st.binary(max_size=300), st.just(0), st.booleans()),
    st.builds(Publish, topics, st.binary(max_size=300), st.integers(1, 2), st.booleans(), st.booleans(), packet_ids),
)
packets: st.SearchStrategy[Packet] = st.one_of(
    connects,
    publishes,
    st.builds(Connack, st.just(False), st.integers(0, 5)),
    st.builds(Connack, st.booleans(), st.just(0)),
    *(st.builds(kind, packet_ids) for kind in (Puback, Pubrec, Pubrel, Pubcomp, Unsuback)),
    st.builds(
        Subscribe, packet_ids, st.lists(st.tuples(topic_filters, st.integers(0, 2)), min_size=1, max_size=4).map(tuple)
    ),
    st.builds(Suback, packet_ids, st.lists(st.sampled_from([0, 1, 2, 0x80]), min_size=1, max_size=4).map(tuple)),
    st.builds(Unsubscribe, packet_ids, st.lists(topic_filters, min_size=1, max_size=4).map(tuple)),
    st.sampled_from([Pingreq(), Pingresp(), Disconnect()]),
)


def body_of(raw: bytes) -> bytes:
    length_bytes = 1 + next(index for index, byte in enumerate(raw[1:]) if byte < 0x80)
    return raw[1 + length_bytes :]


@given(packets)
def test_reading_what_was_written_gives_the_packet_again(packet: Packet) -> None:
    assert list(PacketReader(MAX_PACKET_BYTES).feed(format_packet(packet))) == [packet]


@given(packets)
def test_body_cut_short_is_another_packet_or_refused(packet: Packet) -> None:
    """A shorter body may be whole in its own right (a payload, a last filter), but never reads as this packet."""
    raw = format_packet(packet)
    body = body_of(raw)
    for size in range(len(body)):
        with suppress(MalformedPacket):
            assert parse_packet(raw[0], body[:size]) != packet


@given(st.lists(packets, max_size=6), st.lists(st.integers(1, 60), min_size=1, max_size=20))
def test_pieces_of_any_size_give_the_same_packets(sent: list[Packet], sizes: list[int]) -> None:
    stream = b"".join(map(format_packet, sent))
    reader = PacketReader(MAX_PACKET_BYTES)
    received: list[Packet] = []
    position = piece = 0
    while position < len(stream):
        size = sizes[piece % len(sizes)]
        received += reader.feed(stream[position : position + size])
        position, piece = position + size, piece + 1
    assert received == sent


@given(st.lists(st.binary(max_size=40), max_size=8))
@example([b"\x10\x09\x00\x06MQIsdp\x03"])
def test_random_bytes_are_packets_or_malformed(pieces: list[bytes]) -> None:
    reader = PacketReader(100)
    with suppress(MalformedPacket):
        for piece in pieces:
            for packet in reader.feed(piece):
                written = format_packet(packet)
                assert parse_packet(written[0], body_of(written)) == packet


@given(st.integers(0, 255), st.binary(max_size=60))
def test_random_body_is_a_packet_or_malformed(first_byte: int, body: bytes) -> None:
    try:
        packet = parse_packet(first_byte, body)
    except MalformedPacket:
        return
    written = format_packet(packet)
    assert (written[0], body_of(written)) == (first_byte, body)


@given(st.binary(max_size=60).map(lambda rest: b"\x00\x04MQTT\x04" + rest))
def test_random_connect_is_a_connect_or_malformed(body: bytes) -> None:
    try:
        packet = parse_packet(0x10, body)
    except MalformedPacket:
        return
    assert body_of(format_packet(packet)) == body


@given(st.text("a/+#", max_size=6))
def test_topic_filter_rule_agrees_with_a_reading_of_each_character(text: str) -> None:
    def stands_alone(index: int) -> bool:
        before, after = text[:index][-1:], text[index + 1 :][:1]
        return before in ("", "/") and after in ("", "/")

    legal = bool(text) and all(
        stands_alone(index) and (character == "+" or index == len(text) - 1)
        for index, character in enumerate(text)
        if character in "+#"
    )
    assert is_topic_filter(text) == legal


@pytest.mark.parametrize("first_byte", range(256))
def test_every_first_byte_with_an_empty_body_is_a_packet_or_malformed(first_byte: int) -> None:
    try:
        packet = parse_packet(first_byte, b"")
    except MalformedPacket:
        return
    assert packet in (Pingreq(), Pingresp(), Disconnect())
