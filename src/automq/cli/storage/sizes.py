"""Sizes for people."""


def readable(size_bytes: int) -> str:
    """A size for people: 1536 is 1.5 KiB."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def whole(size_bytes: int) -> str:
    """A size that is a whole number of its unit: 4096 is 4 KiB."""
    for unit in ("B", "KiB", "MiB"):
        if size_bytes % 1024:
            return f"{size_bytes} {unit}"
        size_bytes //= 1024
    return f"{size_bytes} GiB"
