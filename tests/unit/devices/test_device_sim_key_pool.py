import stat
from pathlib import Path

import pytest

from certs.csr import decode_csr, parse_csr
from certs.keys import KeyType, generate_key, key_type_of
from device_sim.key_pool import (
    HEADER,
    DeviceKey,
    FleetKeys,
    KeyPool,
    KeyPoolError,
    format_key,
    generate_keys,
    parse_key,
    read_key_pool,
    write_key_pool,
)


@pytest.fixture
def pool_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.pool"
    write_key_pool(path, KeyType.P256, generate_keys(KeyType.P256, 3))
    return path


def numbers(pool: KeyPool, count: int) -> list[bytes]:
    return [format_key(pool.key(number).private) for number in range(count)]


def test_pool_gives_the_same_keys_each_time_it_is_read(pool_file: Path) -> None:
    keys = numbers(read_key_pool(pool_file), 3)
    assert keys == numbers(read_key_pool(pool_file), 3)
    assert len(set(keys)) == 3


def test_pool_is_readable_by_its_owner_only(pool_file: Path) -> None:
    assert stat.S_IMODE(pool_file.stat().st_mode) == 0o600


def test_no_more_keys_are_read_than_asked_for(pool_file: Path) -> None:
    assert len(read_key_pool(pool_file, 2)) == 2


@pytest.mark.parametrize("key_type", [KeyType.P256, KeyType.P384, KeyType.P521, KeyType.RSA2048])
def test_every_type_of_key_is_kept(key_type: KeyType, tmp_path: Path) -> None:
    write_key_pool(tmp_path / "keys.pool", key_type, generate_keys(key_type, 1))
    pool = read_key_pool(tmp_path / "keys.pool")
    assert pool.key_type is key_type
    assert key_type_of(pool.key(0).private) is key_type


def test_key_beyond_the_pool_is_made_each_time(pool_file: Path) -> None:
    pool = read_key_pool(pool_file)
    assert key_type_of(pool.key(3).private) is KeyType.P256
    assert pool.key(3) is not pool.key(3)


def test_progress_hears_of_all_keys() -> None:
    heard: list[int] = []
    assert len(list(generate_keys(KeyType.RSA2048, 2, heard.append))) == 2
    assert heard[-1] == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "hublet key pool 1: P-255\n",
        "hublet key pool 2: P-256\n",
        "-----BEGIN PRIVATE KEY-----\n",
        "schlüssel",
    ],
)
def test_file_that_is_no_pool_is_refused_by_its_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(KeyPoolError, match=r"other\.txt is no key pool"):
        read_key_pool(path)


@pytest.mark.parametrize("line", ["", "!", "AAAA", "c2VjcmV0LXNlY3JldA=="])
def test_line_that_is_no_key_is_refused_by_its_number_and_not_shown(line: str, pool_file: Path) -> None:
    pool_file.write_text(pool_file.read_text() + line + "\n")
    with pytest.raises(KeyPoolError) as refused:
        read_key_pool(pool_file)
    assert str(refused.value) == f"{pool_file}, line 5: not a P-256 key in base64"


def test_key_of_another_type_is_refused(tmp_path: Path) -> None:
    write_key_pool(tmp_path / "keys.pool", KeyType.P256, [format_key(generate_key(KeyType.P384))])
    with pytest.raises(KeyPoolError, match="line 2: not a P-256 key"):
        read_key_pool(tmp_path / "keys.pool")


def test_key_that_is_neither_ec_nor_rsa_is_refused(tmp_path: Path) -> None:
    ed25519 = bytes.fromhex("302e020100300506032b657004220420") + bytes(32)
    with pytest.raises(ValueError, match="neither an EC nor an RSA key"):
        parse_key(ed25519)
    write_key_pool(tmp_path / "keys.pool", KeyType.P256, [ed25519])
    with pytest.raises(KeyPoolError, match="line 2"):
        read_key_pool(tmp_path / "keys.pool")


def test_first_line_says_what_the_file_is(pool_file: Path) -> None:
    assert pool_file.read_text().splitlines()[0] == f"{HEADER}P-256" == "hublet key pool 1: P-256"


def test_pool_of_a_part_begins_with_its_first_device() -> None:
    keys = [DeviceKey(generate_key(KeyType.P256)) for _ in range(2)]
    pool = KeyPool(KeyType.P256, keys, first=5)
    assert [pool.key(5), pool.key(6)] == keys
    assert not {id(pool.key(number)) for number in (0, 4, 7)} & {id(key) for key in keys}


# --- what is made of a key in advance ---


def test_request_that_was_signed_before_is_given_for_its_own_name_only() -> None:
    key = DeviceKey(generate_key(KeyType.P256)).for_device("sensor-001")
    assert key.request("sensor-001") is key.csr
    other = parse_csr(decode_csr(key.request("sensor-002")), "sensor-002")
    assert other.public_key == key.private.public_key()


def test_requests_are_signed_for_the_devices_that_there_are_keys_for() -> None:
    pool = KeyPool(KeyType.P256, [DeviceKey(generate_key(KeyType.P256)) for _ in range(3)], first=4)
    ready = pool.for_devices(["a", "b", "c", "d"], first=5)
    assert [ready.key(number).common_name for number in range(4, 9)] == ["", "a", "b", "", ""]
    assert all(ready.key(number).private is pool.key(number).private for number in range(4, 7))
    assert parse_csr(decode_csr(ready.key(6).csr), "b").public_key == pool.key(6).private.public_key()


def test_key_is_not_shown() -> None:
    key = DeviceKey.prepared(generate_key(KeyType.P256))
    assert "PrivateKey" not in repr(key)


# --- the keys of a fleet ---


def test_every_device_and_every_renewal_has_a_key_of_its_own(pool_file: Path) -> None:
    keys = FleetKeys(read_key_pool(pool_file), devices=3)
    found = {format_key(keys.key(device, generation).private) for device in range(3) for generation in range(3)}
    assert len(found) == 9


def test_generations_follow_each_other_in_the_pool(pool_file: Path) -> None:
    pool = read_key_pool(pool_file)
    keys = FleetKeys(pool, devices=2)
    assert keys.key(0, 1) is pool.key(2)


def test_reused_key_is_that_of_the_first_device_until_the_renewal() -> None:
    keys = FleetKeys(KeyPool(KeyType.P256), devices=3, is_reused=lambda device: device == 2)
    first = keys.key(0)
    assert keys.key(2) is first
    assert keys.key(0) is first
    assert keys.key(1) is not first
    assert keys.key(2, 1) is not keys.key(0, 1)
