"""What was measured where something does not hold, beside what is allowed: checks carry it, and
their tickets. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """Both as people read them, with their unit."""

    value: str
    threshold: str

    def metadata(self) -> dict[str, str]:
        """Of a check, under the names that tickets look for."""
        return {"value": self.value, "threshold": self.threshold}


@dataclass(frozen=True)
class Problem:
    """Something that does not hold of a version."""

    words: str
    measured: Measured


NO_ANSWER = Measured("no answer", "answers")


def metadata_of(measured: Measured | None) -> dict[str, str]:
    """Nothing where nothing fails."""
    return {} if measured is None else measured.metadata()
