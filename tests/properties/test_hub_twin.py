"""The laws of merge patches, and a twin in any order of writes against a model of a few lines."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from emulator.store import SqliteStore
from hub.errors import ArgumentInvalid, HubError, PreconditionFailed
from hub.json_text import parse_json
from hub.merge_patch import merge_metadata, merge_patch
from hub.query import parse_query
from hub.twin import Properties, Twin, TwinChange
from hub.twin_json import format_twin_record, parse_twin_record
from hub.twin_rules import READ_ONLY_MEMBERS, Section, check_section
from hub.twins import Twins

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
STAMP: dict[str, str | int] = {"$lastUpdated": "now"}

keys = st.sampled_from(["a", "b", "c", "ü", ""])
leaves = st.integers(-(2**52), 2**52 - 1) | st.booleans() | st.text("xyü", max_size=5) | st.just(1.0)
arrays = st.lists(leaves, max_size=3)
values = st.recursive(leaves | arrays, lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=8)
objects = st.dictionaries(keys, values, max_size=4)
patch_values = st.recursive(
    leaves | arrays | st.none(), lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
patches = st.dictionaries(keys, patch_values, max_size=4)


def without_nulls(value: Any) -> Any:
    """What a patch leaves behind where nothing was."""
    if not isinstance(value, dict):
        return value
    return {name: without_nulls(member) for name, member in value.items() if member is not None}


@given(objects, patches)
def test_patching_twice_is_patching_once(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


@given(objects)
def test_empty_patch_changes_nothing_and_a_patch_of_itself_neither(target: Any) -> None:
    assert merge_patch(target, {}) == target
    assert merge_patch(target, target) == target


@given(patches)
def test_patch_of_nothing_is_the_patch_without_its_nulls(patch: Any) -> None:
    assert merge_patch({}, patch) == without_nulls(patch)


@given(objects, patches)
def test_nothing_patched_is_ever_null(target: Any, patch: Any) -> None:
    merged = merge_patch(target, patch)
    assert without_nulls(merged) == merged


@given(objects, patches)
def test_arguments_are_not_changed(target: Any, patch: Any) -> None:
    before = json.dumps([target, patch])
    merge_patch(target, patch)
    assert json.dumps([target, patch]) == before


def shape(value: Any) -> Any:
    return {name: shape(member) for name, member in value.items()} if isinstance(value, dict) else {}


def shape_of_metadata(metadata: Any) -> Any:
    return {name: shape_of_metadata(member) for name, member in metadata.items() if not name.startswith("$")}


@given(st.lists(patches, max_size=4))
def test_metadata_have_the_shape_of_the_values(history: list[Any]) -> None:
    value: Any = {}
    metadata: Any = {}
    for patch in history:
        value, metadata = merge_patch(value, patch), merge_metadata(metadata, patch, STAMP)
    assert shape_of_metadata(metadata) == shape(value)


@given(st.lists(patches, max_size=4), objects)
def test_record_is_read_as_it_was_written(history: list[Any], tags: Any) -> None:
    twin = Twin().changed(TwinChange(tags=tags), START)
    for patch in history:
        twin = twin.reported_patched(patch, START)
    assert parse_twin_record(format_twin_record(twin)) == twin


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_body_is_json_or_a_documented_error(body: bytes) -> None:
    try:
        value = parse_json(body)
        check_section(Section.REPORTED, value)
    except HubError:
        return
    assert isinstance(value, dict)


@given(st.text(max_size=100))
def test_any_text_is_a_query_or_a_documented_error(text: str) -> None:
    for query in (text, f"SELECT * FROM devices WHERE {text}"):
        try:
            parse_query(query).matches({"deviceId": "a"})
        except ArgumentInvalid:
            continue


QUERY = (
    "SELECT * FROM devices WHERE NOT (tags.a = 'x' AND properties.desired.b >= 1.5) OR is_defined(c) AND d IN [1, 'z']"
)


def test_every_truncated_query_is_refused_or_shorter() -> None:
    whole = {len("SELECT * FROM devices"), len("SELECT * FROM devices "), len(QUERY)}
    for length in range(len(QUERY)):
        try:
            parse_query(QUERY[:length])
        except ArgumentInvalid:
            continue
        ends_after_a_term = QUERY[length:].lstrip().startswith(("OR", "AND"))
        inside_a_word_of_the_source = len("SELECT * FROM ") < length
        assert length in whole or ends_after_a_term or inside_a_word_of_the_source


class TwinWrites(RuleBasedStateMachine):
    """The model: the three sections as plain objects, and how often each kind of write happened."""

    @initialize()
    def start(self) -> None:
        self.store = SqliteStore(":memory:")
        self.twins = Twins(self.store, "hub1")
        self.now = START
        self.tags: Any = {}
        self.desired: Any = {}
        self.reported: Any = {}
        self.revision, self.desired_version, self.reported_version = 1, 1, 1

    @rule(tags=st.none() | patches, desired=st.none() | patches, stale=st.booleans())
    def patch(self, tags: Any, desired: Any, stale: bool) -> None:
        etag = Twin(revision=self.revision + stale).etag
        change = TwinChange(tags, None if desired is None else {**desired, **dict.fromkeys(READ_ONLY_MEMBERS, 1)})
        self.now += timedelta(seconds=1)
        try:
            self.twins.change("dev1", change, self.now, etag=etag)
        except PreconditionFailed:
            assert stale
            return
        assert not stale
        if tags is not None:
            self.tags = merge_patch(self.tags, tags)
        if desired is not None:
            self.desired = merge_patch(self.desired, desired)
            self.desired_version += 1
        self.revision += tags is not None or desired is not None

    @rule(tags=st.none() | patches, desired=st.none() | patches)
    def replace(self, tags: Any, desired: Any) -> None:
        self.twins.change("dev1", TwinChange(tags, desired, is_replacement=True), self.now)
        self.tags, self.desired = without_nulls(tags or {}), without_nulls(desired or {})
        self.desired_version += 1
        self.revision += 1

    @rule(patch=patches, stale=st.booleans())
    def report(self, patch: Any, stale: bool) -> None:
        try:
            self.twins.report("dev1", patch, self.now, expected_version=self.reported_version + stale)
        except PreconditionFailed:
            assert stale
            return
        self.reported = merge_patch(self.reported, patch)
        self.reported_version += 1

    @rule(tags=st.just({"a.b": 1}) | st.just({"big": ["x" * 4000, "x" * 4000, "x" * 4000]}))
    def break_a_rule(self, tags: Any) -> None:
        try:
            self.twins.change("dev1", TwinChange(tags, {"a": 1}), self.now)
        except ArgumentInvalid:
            return
        raise AssertionError("a broken rule was not noticed")

    @rule()
    def restart(self) -> None:
        self.store.commit()
        self.twins = Twins(self.store, "hub1")

    @invariant()
    def twin_is_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        twin = self.twins.get("dev1")
        assert (twin.tags, twin.desired.values, twin.reported.values) == (self.tags, self.desired, self.reported)
        versions = (twin.revision, twin.desired.version, twin.reported.version)
        assert versions == (self.revision, self.desired_version, self.reported_version)
        for properties in (twin.desired, twin.reported):
            self.metadata_fit(properties)

    def metadata_fit(self, properties: Properties) -> None:
        assert shape_of_metadata(properties.metadata) == shape(dict(properties.values))

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()


TwinWrites.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestTwinWrites = TwinWrites.TestCase
