"""Key stores and atomic files: modes, durability steps, and nothing half-written."""

import os
import stat

import pytest

from certs.keyfile import FileKeyStore, MemoryKeyStore, write_atomic, write_private
from certs.keys import KeyType, generate_key


def mode_of(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=["file", "memory"])
def keys(request, tmp_path):
    return FileKeyStore(tmp_path / "state" / "keys") if request.param == "file" else MemoryKeyStore()


class TestKeyStore:
    def test_saved_key_is_loaded(self, keys):
        key = generate_key(KeyType.P384)
        keys.save("factory-1.root", key)
        assert keys.load("factory-1.root").private_numbers() == key.private_numbers()

    def test_unknown_name_loads_nothing(self, keys):
        assert keys.load("factory-1.root") is None

    def test_saving_again_replaces(self, keys):
        keys.save("ns.root", generate_key(KeyType.P256))
        second = generate_key(KeyType.P256)
        keys.save("ns.root", second)
        assert keys.load("ns.root").private_numbers() == second.private_numbers()

    def test_deleted_key_is_gone(self, keys):
        keys.save("ns.default.1", generate_key(KeyType.P256))
        keys.save("ns.default.2", generate_key(KeyType.P256))
        keys.delete("ns.default.1")
        assert keys.load("ns.default.1") is None
        assert keys.load("ns.default.2") is not None

    def test_deleting_an_unknown_key_does_nothing(self, keys):
        keys.delete("ns.default.1")


class TestFileKeyStore:
    def test_file_and_directory_are_the_owners_only(self, tmp_path):
        directory = tmp_path / "keys"
        previous = os.umask(0)
        try:
            FileKeyStore(directory).save("ns.root", generate_key(KeyType.P256))
        finally:
            os.umask(previous)
        assert mode_of(directory) == 0o700
        assert [path.name for path in directory.iterdir()] == ["ns.root.key"]
        assert mode_of(directory / "ns.root.key") == 0o600

    @pytest.mark.parametrize("name", ["", "../root", "a/b", ".hidden", "a\0b", "a\nb", "x" * 201, "ä"])
    def test_name_that_could_leave_the_directory_is_refused(self, tmp_path, name):
        keys = FileKeyStore(tmp_path)
        for call in (keys.load, keys.delete, lambda name: keys.save(name, generate_key(KeyType.P256))):
            with pytest.raises(ValueError, match="not a key name"):
                call(name)
        assert list(tmp_path.iterdir()) == []

    def test_file_that_is_no_key_is_named_without_its_content(self, tmp_path):
        (tmp_path / "ns.root.key").write_text("half a secret")
        with pytest.raises(ValueError, match=r"ns\.root\.key") as caught:
            FileKeyStore(tmp_path).load("ns.root")
        assert "secret" not in str(caught.value)


class TestWriting:
    def test_public_file_is_readable_by_all(self, tmp_path):
        write_atomic(tmp_path / "root.pem", b"certificate")
        assert (tmp_path / "root.pem").read_bytes() == b"certificate"
        assert mode_of(tmp_path / "root.pem") == 0o644

    def test_private_file_replaces_one_with_a_wider_mode(self, tmp_path):
        path = tmp_path / "device.key"
        path.write_bytes(b"old")
        path.chmod(0o644)
        write_private(path, b"new")
        assert path.read_bytes() == b"new"
        assert mode_of(path) == 0o600

    def test_failed_write_leaves_the_old_file_and_no_other(self, tmp_path, monkeypatch):
        path = tmp_path / "root.pem"
        write_atomic(path, b"old")

        def fail(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("certs.keyfile.os.fsync", fail)
        with pytest.raises(OSError, match="No space left") as caught:
            write_atomic(path, b"new")
        assert caught.value.filename == str(path)
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_file_and_directory_are_flushed_before_and_after_the_rename(self, tmp_path, monkeypatch):
        path = tmp_path / "root.pem"
        seen = []

        def record(descriptor: int) -> None:
            kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
            seen.append((kind, path.exists()))

        monkeypatch.setattr("certs.keyfile.os.fsync", record)
        write_atomic(path, b"new")
        assert seen == [("file", False), ("directory", True)]

    def test_missing_directory_is_an_error(self, tmp_path):
        path = tmp_path / "missing" / "root.pem"
        with pytest.raises(FileNotFoundError) as caught:
            write_atomic(path, b"")
        assert caught.value.filename == str(path)
