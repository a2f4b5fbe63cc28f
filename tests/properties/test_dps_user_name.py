"""User names: what is written is read back, and nothing else raises."""

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from dps.api_version import ApiVersion, parse_api_version
from dps.registration_id import MAX_CHARACTERS, is_registration_id
from dps.user_name import UserName, UserNameError, format_user_name, parse_user_name

REGISTRATION_IDS = st.from_regex(r"[A-Za-z0-9._:-]{0,60}[A-Za-z0-9-]", fullmatch=True)
DATES = st.dates(min_value=date(2000, 1, 1), max_value=date(9999, 12, 31))
API_VERSIONS = st.builds(
    lambda day, suffix: ApiVersion(day.isoformat() + suffix, day), DATES, st.sampled_from(["", "-preview"])
)
USER_NAMES = st.builds(
    UserName,
    id_scope=st.text(st.characters(blacklist_characters="/", blacklist_categories=["Cs"]), min_size=1, max_size=20),
    registration_id=REGISTRATION_IDS,
    api_version=API_VERSIONS,
    client_version=st.none() | st.text(st.characters(blacklist_categories=["Cs"]), max_size=60),
)


@given(USER_NAMES)
def test_user_name_is_read_as_it_was_written(user_name: UserName) -> None:
    assert parse_user_name(format_user_name(user_name)) == user_name


@given(API_VERSIONS)
def test_api_version_is_read_as_it_was_written(version: ApiVersion) -> None:
    assert parse_api_version(version.text) == version


@given(st.text(max_size=300) | st.text("0ne/registationsp-v=&%. ", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        user_name = parse_user_name(text)
    except UserNameError as error:
        assert len(str(error)) < 1000
    else:
        assert is_registration_id(user_name.registration_id)


@given(USER_NAMES, st.data())
def test_prefix_without_a_whole_api_version_is_refused(user_name: UserName, data: st.DataObject) -> None:
    text = format_user_name(user_name)
    whole = text.index("api-version=") + len("api-version=yyyy-mm-dd")
    prefix = text[: data.draw(st.integers(0, whole - 1))]
    try:
        parse_user_name(prefix)
    except UserNameError:
        return
    raise AssertionError(f"{prefix!r} was accepted")


@given(st.text(max_size=MAX_CHARACTERS + 2))
def test_registration_id_is_of_the_allowed_characters(text: str) -> None:
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:")
    expected = 1 <= len(text) <= MAX_CHARACTERS and set(text) <= allowed and text[-1] not in "._:"
    assert is_registration_id(text) == expected
