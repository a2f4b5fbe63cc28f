import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.errors import ArgumentInvalid, HubError, IotHubFormatError
from hub.json_text import parse_json, parse_json_object
from hub.merge_patch import merge_patch
from hub.twin import Properties, Twin, TwinChange
from hub.twin_json import (
    format_desired_change,
    format_device_view,
    format_service_view,
    format_twin_record,
    parse_initial_twin,
    parse_twin_change,
    parse_twin_record,
)
from hub.twin_rules import MAX_SECTION_BYTES, Section, check_section, check_size, size_of

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
STAMP, LATER_STAMP = "2026-11-23T12:00:00.0000000Z", "2026-11-23T13:00:00.0000000Z"
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "hub_twins.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", [pytest.param(vector, id=vector["id"]) for vector in VECTORS])
def test_reported_patch_does_what_the_vector_says(vector: dict[str, Any]) -> None:
    twin = Twin(reported=Properties(vector["input"]["target"]))
    if vector["expect"] is None:
        with pytest.raises(ArgumentInvalid):
            twin.reported_patched(vector["input"]["patch"], NOW)
    else:
        values = twin.reported_patched(vector["input"]["patch"], NOW).reported.values
        assert json.dumps(values, sort_keys=True) == json.dumps(vector["expect"], sort_keys=True)
        assert twin.reported.values == vector["input"]["target"]


def test_patch_that_is_no_object_replaces_the_whole() -> None:
    assert merge_patch({"a": 1}, [1]) == [1]


def nested(levels: int, leaf: Any = 1) -> Any:
    """An object with `levels` objects below it."""
    value: Any = {"leaf": leaf}
    for _ in range(levels):
        value = {"a": value}
    return value


def test_ten_levels_below_the_root_are_allowed() -> None:
    check_section(Section.TAGS, nested(10))
    with pytest.raises(ArgumentInvalid, match="lies 11 levels deep, 10 are allowed"):
        check_section(Section.TAGS, nested(11))


def test_arrays_count_as_levels() -> None:
    check_section(Section.TAGS, nested(9, [[1]][0]))
    with pytest.raises(ArgumentInvalid, match="lies 11 levels deep"):
        check_section(Section.TAGS, nested(10, [1]))


def test_key_and_string_limits_are_in_bytes() -> None:
    check_section(Section.TAGS, {"ü" * 512: "ü" * 2048})
    with pytest.raises(ArgumentInvalid, match="longer than 1024 bytes"):
        check_section(Section.TAGS, {"ü" * 512 + "a": 1})
    with pytest.raises(ArgumentInvalid, match="over 4096 bytes"):
        check_section(Section.TAGS, {"a": "ü" * 2048 + "a"})


def test_number_that_overflows_is_refused() -> None:
    with pytest.raises(ArgumentInvalid, match="no IEEE double"):
        check_section(Section.TAGS, {"a": parse_json(b"1e999")})


def test_size_counts_as_documented() -> None:
    value = {"ab": "ü", "c": 1, "d": 1.5, "e": True, "f": ["x", {"y": False}]}
    assert size_of(value) == (2 + 2) + (1 + 8) + (1 + 8) + (1 + 4) + 1 + (1 + 1 + 4)


@pytest.mark.parametrize("section", Section)
def test_section_may_be_exactly_as_large_as_its_limit(section: Section) -> None:
    limit = MAX_SECTION_BYTES[section]
    full = {f"{number:04}": "x" * 1020 for number in range(limit // 1024)}
    assert size_of(full) == limit
    check_size(section, full)
    with pytest.raises(ArgumentInvalid, match=f"{section} would have {limit + 9} bytes, it may have {limit}"):
        check_size(section, {**full, "z": 1})


def test_limits_hold_for_the_merged_section() -> None:
    twin = Twin().changed(TwinChange(tags={"a": "x" * 4000}), NOW).changed(TwinChange(tags={"b": "x" * 4000}), NOW)
    with pytest.raises(ArgumentInvalid, match="tags would have"):
        twin.changed(TwinChange(tags={"c": "x" * 4000}), NOW)
    twin.changed(TwinChange(tags={"a": None, "c": "x" * 4000}), NOW)


def test_new_twin_is_what_azure_shows() -> None:
    empty = {"$metadata": {"$lastUpdated": "0001-01-01T00:00:00Z"}, "$version": 1}
    assert format_service_view(Twin()) == {
        "etag": "AAAAAAAAAAE=",
        "version": 2,
        "tags": {},
        "properties": {"desired": empty, "reported": empty},
    }


def test_writes_of_tags_and_desired_move_the_etag_and_reported_ones_do_not() -> None:
    twin = Twin().changed(TwinChange(tags={"a": 1}, desired={"b": 2}), NOW)
    assert (twin.revision, twin.version, twin.etag) == (2, 3, "AAAAAAAAAAI=")
    reported = twin.reported_patched({"c": 3}, NOW)
    assert (reported.revision, reported.reported.version, reported.desired.version) == (2, 2, 2)


def test_change_of_nothing_is_no_write() -> None:
    twin = Twin()
    assert twin.changed(TwinChange(), NOW) is twin


def test_empty_patch_is_a_write() -> None:
    assert Twin().changed(TwinChange(desired={}), NOW).desired.version == 2


def test_metadata_have_the_shape_of_the_values_and_say_when_each_was_written() -> None:
    twin = Twin().changed(TwinChange(desired={"a": {"b": 1, "c": [1, 2]}, "d": 4}), NOW)
    twin = twin.changed(TwinChange(desired={"a": {"b": 2}, "d": None}), LATER)
    first = {"$lastUpdated": STAMP, "$lastUpdatedVersion": 2}
    second = {"$lastUpdated": LATER_STAMP, "$lastUpdatedVersion": 3}
    assert twin.desired.metadata == {**second, "a": {**second, "b": second, "c": first}}


def test_reported_metadata_have_no_version() -> None:
    metadata = Twin().reported_patched({"a": 1}, NOW).reported.metadata
    assert metadata == {"$lastUpdated": STAMP, "a": {"$lastUpdated": STAMP}}


def test_replacement_leaves_nothing_of_before() -> None:
    twin = Twin().changed(TwinChange(tags={"a": 1}, desired={"b": {"c": 1}}), NOW)
    twin = twin.changed(TwinChange(desired={"d": 1, "e": None}, is_replacement=True), LATER)
    assert (twin.tags, twin.desired.values, twin.desired.version) == ({}, {"d": 1}, 3)
    assert set(twin.desired.metadata) == {"$lastUpdated", "$lastUpdatedVersion", "d"}


def test_service_may_send_back_what_it_was_shown() -> None:
    shown = format_service_view(Twin().changed(TwinChange(tags={"a": 1}, desired={"b": 2}), NOW))
    change = parse_twin_change(json.loads(json.dumps(shown)), is_replacement=False)
    again = parse_initial_twin(shown, NOW)
    assert (change.tags, again.desired.values, again.tags) == ({"a": 1}, {"b": 2}, {"a": 1})


def test_device_sees_versions_but_no_metadata_and_no_tags() -> None:
    twin = Twin().changed(TwinChange(tags={"a": 1}, desired={"b": 2}), NOW)
    assert json.loads(format_device_view(twin)) == {"desired": {"b": 2, "$version": 2}, "reported": {"$version": 1}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (TwinChange(desired={"a": None, "b": {"c": None}, "$version": 7}), {"a": None, "b": {"c": None}}),
        (TwinChange(desired={"x": 1, "y": None}, is_replacement=True), {"x": 1}),
        (TwinChange(is_replacement=True), {}),
    ],
)
def test_device_is_told_the_patch_or_all_of_a_replacement(change: TwinChange, told: dict[str, Any]) -> None:
    twin = Twin().changed(change, NOW)
    assert json.loads(format_desired_change(change, twin)) == {**told, "$version": 2}


@pytest.mark.parametrize("document", [{"tags": []}, {"properties": 1}, {"properties": {"desired": "x"}}])
def test_sections_of_a_change_are_objects(document: dict[str, Any]) -> None:
    with pytest.raises(ArgumentInvalid):
        parse_twin_change(document, is_replacement=False)


@pytest.mark.parametrize("document", [{}, {"tags": None}, {"properties": None}, {"properties": {"desired": None}}])
def test_null_in_a_change_is_absent(document: dict[str, Any]) -> None:
    assert parse_twin_change(document, is_replacement=False) == TwinChange()


def test_record_holds_everything() -> None:
    twin = Twin(model_id="dtmi:a;1").changed(TwinChange(tags={"ü": 1.0}, desired={"b": [1]}), NOW)
    twin = twin.reported_patched({"c": {"d": "x"}}, LATER)
    assert parse_twin_record(format_twin_record(twin)) == twin
    assert format_service_view(twin)["modelId"] == "dtmi:a;1"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"NaN", b'{"a": Infinity}', b"[" * 100_000, b'"\xc3"'])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(IotHubFormatError):
        parse_json(body)


@pytest.mark.parametrize("body", [b"1", b"[]", b"null", b'"x"'])
def test_body_must_be_an_object(body: bytes) -> None:
    with pytest.raises(ArgumentInvalid, match="must be an object"):
        parse_json_object(body)
    assert issubclass(ArgumentInvalid, HubError)
