"""What was measured where something does not hold, beside what is allowed: checks carry it, and
their tickets. Pure."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Breach:
    """Both as people read them, with their unit."""

    value: str
    threshold: str


@dataclass(frozen=True)
class Problem:
    """Something that does not hold of a version."""

    words: str
    breach: Breach


NO_ANSWER = Breach("no answer", "answers")


def metadata_of(breach: Breach | None) -> dict[str, str]:
    """Of a check, under the names that tickets look for; nothing where nothing fails."""
    return {} if breach is None else asdict(breach)
