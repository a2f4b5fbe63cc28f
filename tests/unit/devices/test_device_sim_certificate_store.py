import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from certs import keyfile
from certs.authority import CertificateAuthority
from certs.keys import KeyType, PrivateKey, generate_key
from device_sim.certificate_store import CertificateStore, DirectoryStore, MemoryStore, StoredDevice
from device_sim.compact_store import CompactStore
from device_sim.credential import ClientCertificate
from device_sim.errors import CertificateMismatch
from device_sim.registration import Assignment

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ROOT = CertificateAuthority.create_root("root", NOW)
INTERMEDIATE = ROOT.issue_intermediate("intermediate", NOW)
FIRST_KEY, SECOND_KEY = generate_key(KeyType.P256), generate_key(KeyType.P256)


def chain_for(key: PrivateKey) -> tuple[x509.Certificate, ...]:
    leaf = INTERMEDIATE.issue_onboarding("sensor-001", key.public_key(), NOW, validity=timedelta(days=10))
    return (leaf, INTERMEDIATE.certificate, ROOT.certificate)


FIRST, SECOND = chain_for(FIRST_KEY), chain_for(SECOND_KEY)


class PowerLoss(BaseException):
    """The machine stops here."""


@pytest.fixture(params=[MemoryStore, CompactStore, DirectoryStore], ids=["memory", "compact", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> CertificateStore:
    kind: Any = request.param
    made: CertificateStore = kind(tmp_path / "device") if kind is DirectoryStore else kind()
    return made


def obtain(store: CertificateStore, key: PrivateKey, chain: tuple[x509.Certificate, ...]) -> ClientCertificate:
    store.save_pending_key(key)
    return store.save_chain(chain)


def test_new_store_is_empty(store: CertificateStore) -> None:
    assert store.load() == StoredDevice()
    assert store.pending_key() is None


def test_chain_and_key_are_there_again(store: CertificateStore) -> None:
    certificate = obtain(store, FIRST_KEY, FIRST)
    loaded = store.load().certificate
    assert loaded is not None
    assert certificate.chain == loaded.chain == FIRST
    assert loaded.key.private_numbers() == FIRST_KEY.private_numbers()
    assert store.pending_key() is None


def test_assignment_is_there_again(store: CertificateStore) -> None:
    store.save_assignment(Assignment("hub1.example", "sensor-001"))
    assert store.load().assignment == Assignment("hub1.example", "sensor-001")


def test_chain_of_another_key_is_refused_and_the_pair_in_use_stays(store: CertificateStore) -> None:
    obtain(store, FIRST_KEY, FIRST)
    store.save_pending_key(generate_key(KeyType.P256))
    with pytest.raises(CertificateMismatch, match="another private key"):
        store.save_chain(SECOND)
    certificate = store.load().certificate
    assert certificate is not None
    assert certificate.chain == FIRST


def test_chain_that_nobody_asked_for_is_refused(store: CertificateStore) -> None:
    with pytest.raises(CertificateMismatch, match="no certificate was asked for"):
        store.save_chain(FIRST)


def test_pending_key_outlives_the_process(tmp_path: Path) -> None:
    DirectoryStore(tmp_path).save_pending_key(FIRST_KEY)
    key = DirectoryStore(tmp_path).pending_key()
    assert key is not None
    assert key.public_key() == FIRST_KEY.public_key()


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "device"
    store = DirectoryStore(directory)
    store.save_pending_key(FIRST_KEY)
    assert (directory / "pending.key").stat().st_mode & 0o777 == 0o600
    store.save_chain(FIRST)
    assert (directory / "device.key").stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("content", [b"", b"nonsense", b"[]", b'{"hub": 1}'], ids=ascii)
def test_files_that_cannot_be_read_count_as_missing(tmp_path: Path, content: bytes) -> None:
    for name in ("assignment.json", "device.key", "device.pem", "pending.key", "pending.pem"):
        (tmp_path / name).write_bytes(content)
    store = DirectoryStore(tmp_path)
    assert store.load() == StoredDevice()
    assert store.pending_key() is None


def interrupt(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the machine stop before its n-th change to the file system."""
    left = [step]

    def guarded(change: object) -> object:
        def call(*arguments: object, **options: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise PowerLoss
            return change(*arguments, **options)  # type: ignore[operator]

        return call

    monkeypatch.setattr(Path, "replace", guarded(Path.replace))
    monkeypatch.setattr(Path, "unlink", guarded(Path.unlink))
    monkeypatch.setattr(keyfile.tempfile, "mkstemp", guarded(keyfile.tempfile.mkstemp))
    monkeypatch.setattr(os, "fsync", guarded(os.fsync))


def test_power_loss_at_any_step_leaves_a_usable_pair(tmp_path: Path) -> None:
    """Every change to the file system is tried as the last one; the old or the new pair is whole afterwards."""
    found = []
    for step in range(60):
        directory = tmp_path / str(step)
        obtain(DirectoryStore(directory), FIRST_KEY, FIRST)
        with pytest.MonkeyPatch.context() as monkeypatch:
            interrupt(monkeypatch, step)
            try:
                obtain(DirectoryStore(directory), SECOND_KEY, SECOND)
                finished = True
            except PowerLoss:
                finished = False
        certificate = DirectoryStore(directory).load().certificate
        assert certificate is not None, f"step {step}"
        found.append(certificate.chain == SECOND)
        if finished:
            break
    else:
        pytest.fail("the store never finished")
    assert found == sorted(found), "once the new pair was there it stays"
    assert found[0] is False
    assert found[-1] is True


def test_interrupted_recovery_can_be_repeated(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    obtain(store, FIRST_KEY, FIRST)
    (tmp_path / "pending.key").write_bytes((tmp_path / "device.key").read_bytes())
    (tmp_path / "pending.pem").write_bytes((tmp_path / "device.pem").read_bytes())
    for step in range(40):
        with pytest.MonkeyPatch.context() as monkeypatch:
            interrupt(monkeypatch, step)
            try:
                DirectoryStore(tmp_path).load()
                break
            except PowerLoss:
                pass
    certificate = DirectoryStore(tmp_path).load().certificate
    assert certificate is not None
    assert certificate.chain == FIRST
    assert not (tmp_path / "pending.key").exists()
