"""Lengths of time in words. Pure."""

from datetime import timedelta

UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def lasting(seconds: int) -> str:
    """In its largest unit and the one below: `2 d 3 h`, `4 h`, `50 s`."""
    largest = next((at for at, (_, size) in enumerate(UNITS) if seconds >= size), len(UNITS) - 1)
    parts: list[str] = []
    for unit, size in UNITS[largest : largest + 2]:
        count, seconds = divmod(seconds, size)
        if count or not parts:
            parts.append(f"{count} {unit}")
    return " ".join(parts)


def about(length: timedelta) -> str:
    """In its largest unit, to a tenth of it: `5.0 h`; seconds are whole."""
    seconds = max(0.0, length.total_seconds())
    for unit, size in UNITS[:-1]:
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
