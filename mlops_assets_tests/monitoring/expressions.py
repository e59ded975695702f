"""The expressions of deploy/monitoring, and the metrics they are about."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "monitoring"
DASHBOARDS = sorted((FOLDER / "grafana").glob("*.json"))
VARIABLES = {"$__rate_interval": "5m", "$experiment": ".*"}


def rules() -> list[dict[str, Any]]:
    content = yaml.safe_load((FOLDER / "monitoring-rules.yml").read_text(encoding="utf-8"))
    return [rule for group in content["groups"] for rule in group["rules"]]


def of_rules() -> list[str]:
    return [rule["expr"] for rule in rules()]


def dashboard(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def of_dashboards() -> Iterator[str]:
    """As Grafana asks: with a value for each of its variables."""
    for path in DASHBOARDS:
        for panel in dashboard(path)["panels"]:
            for target in panel["targets"]:
                expression = target["expr"]
                for name, value in VARIABLES.items():
                    expression = expression.replace(name, value)
                yield expression


def used_by(expression: str) -> set[str]:
    """Names of metrics; ours begin alike."""
    return set(re.findall(r"\b(?:mlops_\w+|up\b)", expression))
