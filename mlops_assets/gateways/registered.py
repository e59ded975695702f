"""What the MLflow registry holds, as values, and how it fails."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mlops_assets.gateways.records import Metric

EVALUATED_IN = "mlops.evaluated_in"
"""The tag of a version that names the MLflow run with its evaluation and its bundle."""

HELD_OUT = "mlops.test_"
"""How the tags of a version begin that say what each metric was on the held-out rows."""

IMPORTANCES = "importances.json"
"""The artifact of such a run with the importance of each column."""

MODEL_CARD = "model_card.md"
"""The artifact for people: what was measured, and what was decided about it last."""

MEASURED = "measured.md"
"""The first part of that card, written once, so that each decision can write the card anew without
reading what another one is writing."""

_NUMBER = r"(-?\d[\d.]*(?:e[+-]?\d+)?)"
_INTERVAL = re.compile(rf"{_NUMBER} \[{_NUMBER}, {_NUMBER}\]")


class RegistryError(Exception):
    """MLflow cannot be reached, or does not hold what was asked for."""


class AbsentError(RegistryError):
    """MLflow answers, and holds no such version: never did, or it was deleted."""


class RefusedError(RegistryError):
    """MLflow answers, and does not write what was asked for: no permission, or it is gone."""


@dataclass(frozen=True)
class RegistryVersion:
    """One version of a registered model."""

    name: str
    version: int
    run_id: str
    source: str
    tags: Mapping[str, str]
    created_ms: int
    """Unix time, milliseconds."""

    @property
    def runs(self) -> frozenset[str]:
        """MLflow's runs that hold what belongs to it: the one it was registered from, and the one
        that evaluated it, with its bundle."""
        return frozenset({self.run_id, self.tags.get(EVALUATED_IN, "")}) - {""}

    @property
    def adopted(self) -> bool:
        """Whether somebody else registered it, and it was evaluated afterwards."""
        return self.tags.get(EVALUATED_IN, self.run_id) != self.run_id


@dataclass(frozen=True)
class Origin:
    """Which data and code a version was made from; empty where nobody wrote it down."""

    data_digest: str = ""
    """Of the training set."""
    training_rows: int | None = None
    snapshot_digest: str = ""
    """Of the source, as it was then."""
    code_version: str = ""
    """The git commit."""
    yaml_fingerprint: str = ""

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> "Origin":
        """From the tags of a version."""
        rows = tags.get("mlops.training_rows", "")
        return cls(
            data_digest=tags.get("mlops.data_digest", ""),
            training_rows=int(rows) if rows.isdecimal() else None,
            snapshot_digest=tags.get("mlops.snapshot_digest", ""),
            code_version=tags.get("mlops.code_version", ""),
            yaml_fingerprint=tags.get("mlops.yaml_fingerprint", ""),
        )

    def known(self) -> dict[str, str | int]:
        """What of it is known, by field."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None)}


@dataclass(frozen=True)
class RegisteredModel:
    """A model's entry in the registry, as a look at all of them shows it."""

    aliases: Mapping[str, int]
    """Version numbers by alias."""
    latest: RegistryVersion | None
    """The version with the greatest number; None when there is none."""
    created_ms: int
    """Unix time, milliseconds. Another model that later gets the same name has another."""
    tags: Mapping[str, str]


def held_out_tags(metrics: Mapping[str, Metric]) -> dict[str, str]:
    """What was measured on the held-out rows, as tags of a version."""
    return {
        f"{HELD_OUT}{name}": f"{m.value:.6g} [{m.low:.6g}, {m.high:.6g}]"
        for name, m in metrics.items()
    }


def held_out(tags: Mapping[str, str]) -> dict[str, Metric]:
    """The same, from the tags of a version; what somebody else wrote is left out."""
    found = {}
    for tag, text in tags.items():
        read = _INTERVAL.fullmatch(text) if tag.startswith(HELD_OUT) else None
        if read is not None:
            value, low, high = map(float, read.groups())
            found[tag.removeprefix(HELD_OUT)] = Metric(value, low, high)
    return found


def model_from(found: Any) -> RegisteredModel:
    """From MLflow's own, with the newest version of each stage, as MLflow lists it."""
    versions = [version_from(each) for each in found.latest_versions]
    return RegisteredModel(
        aliases={alias: int(version) for alias, version in found.aliases.items()},
        latest=max(versions, key=lambda each: each.version, default=None),
        created_ms=int(found.creation_timestamp),
        tags=dict(found.tags),
    )


def version_from(found: Any) -> RegistryVersion:
    """From MLflow's own."""
    return RegistryVersion(
        name=found.name,
        version=int(found.version),
        run_id=found.run_id or "",
        source=found.source,
        tags=dict(found.tags),
        created_ms=int(found.creation_timestamp),
    )
