"""What is open about the retraining of each experiment, as the sensor remembers it. Pure."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

Trigger = Literal["cron", "drift", "quality", "labels"]
Part = Literal["data", "model"]
"""A retraining has two runs: one refreshes the training set, one trains on it."""

MOST_SAID = 100
"""Experiments without anything open of which the last word is kept: Dagster stores what is
remembered with every tick."""
MOST_CHARACTERS = 300


@dataclass(frozen=True)
class Case:
    """One experiment."""

    asked: Mapping[Trigger, str] = field(default_factory=dict)
    """Why a retraining is asked for, in words; empty when none is."""
    asked_at: str = ""
    key: str = ""
    """Of the run that was asked for and is awaited; empty when none is."""
    part: Part = "data"
    requested_at: str = ""
    failing: Mapping[str, str] = field(default_factory=dict)
    """Checks that fail since before, with the version they judged; empty where they do not say."""
    looked: str = ""
    """Until when `look` was considered for these checks."""
    said: str = ""
    """How the last retraining ended, or why none was started."""
    said_at: str = ""

    @property
    def is_open(self) -> bool:
        return bool(self.asked or self.key)

    def asking(self, trigger: Trigger, words: str, now: datetime) -> "Case":
        """One more reason; of each kind the first one counts."""
        if trigger in self.asked:
            return self
        asked_at = self.asked_at if self.asked else now.isoformat(timespec="seconds")
        return replace(self, asked={**self.asked, trigger: words}, asked_at=asked_at)

    def saying(self, words: str, now: datetime) -> "Case":
        """The same words again keep their time."""
        short = words[:MOST_CHARACTERS]
        if short == self.said:
            return self
        return replace(self, said=short, said_at=now.isoformat(timespec="seconds"))

    def closed(self, words: str, now: datetime) -> "Case":
        """Nothing is asked for or awaited any more."""
        idle = replace(self, asked={}, asked_at="", key="", part="data", requested_at="")
        return idle.saying(words, now)


@dataclass(frozen=True)
class Memory:
    """What one tick leaves for the next."""

    at: str = ""
    """When that tick was."""
    turn: int = 0
    """Where to go on reading checks."""
    cases: Mapping[str, Case] = field(default_factory=dict)

    def to_json(self) -> str:
        """With as little as another tick needs."""
        quiet = [name for name, each in self.cases.items() if not (each.is_open or each.failing)]
        newest = sorted(quiet, key=lambda name: self.cases[name].said_at, reverse=True)
        dropped = {*newest[MOST_SAID:], *(n for n in quiet if not self.cases[n].said)}
        kept = {n: _short(each) for n, each in self.cases.items() if n not in dropped}
        return json.dumps({"at": self.at, "turn": self.turn, "cases": kept}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | None) -> "Memory":
        content = json.loads(text or "{}")
        cases = {name: Case(**each) for name, each in content.get("cases", {}).items()}
        return cls(content.get("at", ""), content.get("turn", 0), cases)


def _short(case: Case) -> dict[str, Any]:
    return {key: value for key, value in asdict(case).items() if value != getattr(Case(), key)}
