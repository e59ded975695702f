"""A monitoring report as a value: what it says, before it is drawn."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from mlops_assets.monitoring.drawing import Picture

State = Literal["good", "unknown", "warning", "bad"]
"""From well to bad: `unknown` where nothing was judged."""


@dataclass(frozen=True)
class Table:
    """Rows of text."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""


@dataclass(frozen=True)
class Section:
    """One question and its answer."""

    title: str
    state: State
    brief: str
    """The answer in a few words, for the top of the report and for MLflow; empty where the section
    judges nothing."""
    words: tuple[str, ...]
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    more: tuple[Table, ...] = ()
    """Folded away until somebody asks."""


@dataclass(frozen=True)
class Report:
    """One experiment, at one time."""

    experiment: str
    description: str
    owner: str
    at: str
    """ISO 8601, UTC."""
    state: State
    headline: str
    facts: tuple[tuple[str, str], ...]
    """What people ask for first, by name."""
    sections: tuple[Section, ...]
    places: tuple[tuple[str, str], ...] = field(default=())
    """Where to look next: what, and its address or command."""


def worst(states: "tuple[State, ...]") -> State:
    """The worst of several; `unknown` of none. What is not known is worse than what is well."""
    order = get_args(State)
    return max(states, key=order.index, default="unknown")
