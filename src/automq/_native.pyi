"""The native core. Every call that works on bytes releases the GIL while it does.

Payloads cross as `Buf`: shared, never copied. This file is the contract and carries the docs.
"""

from typing_extensions import Buffer

class Buf:
    """An immutable, reference-counted run of bytes, shared with the native core.

    Supports the buffer protocol (read-only), `len`, `==` with any bytes, and `bytes()`.
    """

    def __init__(self, data: Buffer) -> None:
        """Takes a copy of `data` (a `Buf` is shared instead)."""

    def slice(self, start: int, end: int) -> Buf:
        """The bytes of `[start, end)`, sharing memory. Raises IndexError outside."""

    def __len__(self) -> int: ...
    def __bytes__(self) -> bytes: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
