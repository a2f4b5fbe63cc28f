"""A state directory with very many devices, made from one that onboarded over the wire."""

import sqlite3
from pathlib import Path

PAGE = 10_000


def multiply_device(database: Path, device_id: str, count: int) -> int:
    """Copy every record of a device under `count` new IDs, as if they had onboarded too; return the records added.

    No process may have the database open. The new IDs are as long as the old one.
    """
    connection = sqlite3.connect(database)
    try:
        of_device = "SELECT tbl, key, value, revision FROM records WHERE instr(key, ?) > 0"
        records = connection.execute(of_device, (device_id,)).fetchall()
        for first in range(0, count, PAGE):
            copies = (
                (table, key.replace(device_id, name), value.replace(device_id, name), revision)
                for name in _names(len(device_id), first, min(first + PAGE, count))
                for table, key, value, revision in records
            )
            connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", copies)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return len(records) * count
    finally:
        connection.close()


def _names(length: int, first: int, end: int) -> list[str]:
    return [f"n{number:0{length - 1}d}" for number in range(first, end)]
