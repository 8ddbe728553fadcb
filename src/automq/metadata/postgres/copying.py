"""Rows in the binary format of COPY (PostgreSQL's documentation of COPY, "Binary Format")."""

import struct

_SIGNATURE = b"PGCOPY\n\xff\r\n\x00"
_INT16, _INT32 = struct.Struct(">h"), struct.Struct(">i")
_NULL, _END = -1, -1


def rows_of(data: bytes) -> list[tuple[bytes | None, ...]]:
    """The fields of each row, None for NULL."""
    assert data.startswith(_SIGNATURE), data[:20]
    extension_bytes = _INT32.unpack_from(data, len(_SIGNATURE) + _INT32.size)[0]
    at = len(_SIGNATURE) + 2 * _INT32.size + extension_bytes
    rows: list[tuple[bytes | None, ...]] = []
    while True:
        (count,) = _INT16.unpack_from(data, at)
        at += _INT16.size
        if count == _END:
            return rows
        row: list[bytes | None] = []
        for _ in range(count):
            (size_bytes,) = _INT32.unpack_from(data, at)
            at += _INT32.size
            if size_bytes == _NULL:
                row.append(None)
                continue
            row.append(data[at : at + size_bytes])
            at += size_bytes
        rows.append(tuple(row))
