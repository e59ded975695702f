"""Writes the first YAML of an experiment from what a survey found. Pure: text in, text out."""

import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_assets.experiment.survey import Survey
from mlops_assets.modeling.tasks import PRIMARY

MANY_ROWS = 20_000

_PLAIN = re.compile(r"(?:\.\./)*[A-Za-z_][A-Za-z0-9_-]*(?:[./][A-Za-z0-9_-]+)*")
_WORDS_OF_YAML = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})
_FLOORS = {"binary_classification": 0.7, "multiclass_classification": 1.0, "regression": None}


@dataclass(frozen=True)
class Header:
    """What a survey cannot know."""

    name: str
    source: Mapping[str, Any]
    """The `features.source` section."""
    data: str
    """Name of the data, for the description."""
    schema_file: str | None
    """Path from the YAML to the JSON schema for editors."""


def render(header: Header, survey: Survey) -> str:
    """The YAML, commented, ready to be loaded."""
    parts = [
        [f"# yaml-language-server: $schema={header.schema_file}"] if header.schema_file else [],
        _head(header, survey),
        _features(header, survey),
        _tuning(survey),
        _training(survey),
        _registry(survey),
        [
            "deployment:",
            "  targets:  # one endpoint each",
            "    - kind: local  # a supervised process on this machine",
        ],
        ["monitoring:", "  window: hour  # length of one profile of the traffic"],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def slug(stem: str) -> str:
    """The name of an experiment from that of a file: `Telco-Churn 2.csv` → `telco_churn_2`."""
    name = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")
    name = name if name[:1].isalpha() else f"data_{name}".rstrip("_")
    return name[:63].rstrip("_")


def scalar(value: Any) -> str:
    """A value as YAML; text is quoted unless it can be nothing but text."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS_OF_YAML:
        return value
    return quoted(value)


def quoted(value: Any) -> str:
    """A value as YAML, text in double quotes."""
    return "".join(map(_escaped, json.dumps(value, ensure_ascii=False)))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


def _head(header: Header, survey: Survey) -> list[str]:
    features = len(survey.schema.inputs.columns)
    description = (
        f"Predicts {survey.schema.target} from {header.data} "
        f"({survey.rows} rows, {features} features)."
    )
    return [
        f"name: {header.name}",
        f"description: {quoted(description)}",
        "owner: team:data  # who answers for it: team:name or an e-mail address",
        f"task: {survey.task}",
    ]


def _features(header: Header, survey: Survey) -> list[str]:
    schema = survey.schema
    lines = ["features:", "  source:"]
    lines += [f"    {key}: {scalar(value)}" for key, value in header.source.items()]
    lines.append(f"  target: {scalar(schema.target)}{_balance(survey)}")
    if schema.positive is not None:
        lines.append(
            f"  positive: {quoted(schema.positive)}  # the label whose probability is predicted"
        )
    if survey.entity is not None:
        lines.append(f"  entity: {scalar(survey.entity)}  # identifies a row; never a feature")
    if survey.event_time is not None:
        lines += [
            f"  event_time: {scalar(survey.event_time)}  # the newest rows are the test set",
            "  # label_time: <column>  # when the label became known, if the data says",
        ]
    if survey.group is not None:
        lines.append(f"  group: {scalar(survey.group)}  # its rows stay on one side of the split")
    if survey.excluded:
        lines.append("  exclude:")
        lines += [f"    - {scalar(name)}  # {why}" for name, why in survey.excluded.items()]
    return lines + _types(survey)


def _types(survey: Survey) -> list[str]:
    """The types found, as comments: they are inferred anew from the data, unless overruled."""
    by_type: dict[str, list[str]] = {}
    for column in survey.schema.inputs.columns:
        by_type.setdefault(column.type, []).append(column.name)
    named = set(survey.excluded)
    by_type["left out"] = [d.column for d in survey.schema.dropped if d.column not in named]
    lines = ["  # Types found in the data; a line under `columns:` overrules them:"]
    lines += ["  #   columns: {<column>: numeric | boolean | categorical | datetime}"]
    for kind, names in by_type.items():
        if names:
            why = " (times are no features)" if kind == "left out" else ""
            lines += _comment(f"{kind}{why}: ", names)
    return lines


def _tuning(survey: Survey) -> list[str]:
    many = survey.rows >= MANY_ROWS
    return [
        "tuning:",
        f"  # metric: {PRIMARY[survey.task]}  # what is optimised",
        "  n_trials: 40  # raise it and run again: finished trials are kept",
        "  search_space:",
        "    learning_rate: {type: float, low: 0.02, high: 0.2, log: true}",
        f"    max_iter: {{type: int, low: 60, high: {600 if many else 300}, step: 20}}",
        f"    max_leaf_nodes: {{type: int, low: 3, high: {127 if many else 31}, log: true}}",
        "    min_samples_leaf: {type: int, low: 5, high: 100, log: true}",
        "    l2_regularization: {type: float, low: 0.001, high: 100.0, log: true}",
        "    max_features: {type: float, low: 0.2, high: 1.0}",
    ]


def _training(survey: Survey) -> list[str]:
    kind = "Regressor" if survey.task == "regression" else "Classifier"
    lines = [
        "training:",
        f"  estimator: sklearn.ensemble.HistGradientBoosting{kind}",
        "  parameters:",
        "    early_stopping: false  # max_iter is searched instead",
    ]
    if survey.slices:
        slices = ", ".join(map(scalar, survey.slices))
        lines.append(f"  slices: [{slices}]  # metrics are also reported by these")
    return [
        *lines,
        "  # retrain:  # without being asked",
        '  #   cron: "0 3 * * 1"  # Mondays at three',
        "  #   timezone: UTC",
        "  #   on_drift: true",
    ]


def _registry(survey: Survey) -> list[str]:
    metric, floor = PRIMARY[survey.task], _FLOORS[survey.task]
    value = "<worst acceptable value>" if floor is None else floor
    return [
        "registry:",
        "  promotion:",
        "    approval: automatic  # manual: somebody else approves it, by mlops promote",
        "    # metrics:  # without them a model must be shown to be better than the champion",
        f"    #   {metric}:",
        "    #     rule: non_inferior  # for retraining on fresh data: not worse by the margin",
        "    #     margin: 0.01",
        f"    #     floor: {value}  # a version worse than this is refused",
    ]


def _balance(survey: Survey) -> str:
    if not survey.counts:
        return ""
    total = sum(survey.counts.values())
    shares = [f"{label} {count / total:.1%}" for label, count in survey.counts.items()]
    more = f", and {len(shares) - 6} more" if len(shares) > 6 else ""
    return f"  # {_one_line(', '.join(shares[:6]))}{more}"


def _comment(title: str, names: Iterable[str]) -> list[str]:
    text = title + _one_line(", ".join(names))
    return [f"  # {line}" for line in textwrap.wrap(text, 92, subsequent_indent="  ")]


def _one_line(text: str) -> str:
    """Text from the data within a comment: nothing in it may end the comment."""
    return "".join(character if character.isprintable() else "?" for character in text)
