"""Hundreds of versions are mostly copies: their rows must be those that MLflow's calls leave."""

import json
import re
import sqlite3
from pathlib import Path

import pytest

from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets_tests.registry import past as builder
from mlops_assets_tests.registry.copies import rows_of
from mlops_assets_tests.registry.past import Made, Past


@pytest.fixture
def past(tmp_path: Path, model_registry: ModelRegistry) -> Past:
    return builder.make(tmp_path, model_registry, "churn", 5, by_calls={1, 4, 5})


def test_a_copied_version_is_as_one_that_mlflow_made(past: Past) -> None:
    made, copied = written(past, past.made[4]), written(past, past.made[3])
    assert copied == made
    tables = {line.partition(" ")[0] for line in made}
    assert tables == {"logged_models", "model_version_tags", "model_versions", "runs", "tags"}


def test_no_two_versions_share_what_is_their_own(past: Past) -> None:
    ids = [each for made in past.made.values() for each in made.ids]
    assert len(set(ids)) == 3 * len(past.made)
    assert past.registered == set(range(1, 6))
    for number, made in past.made.items():
        version = past.registry.version("churn", number)
        assert (version.run_id, version.source) == (made.run_id, f"models:/{made.ids[2]}")
        assert version.tags["mlops.bundle_uri"] == f"runs:/{made.run_id}/bundle"
        assert made.archive.name == f"{version.tags['mlops.bundle_digest']}.tar.gz"


def written(past: Past, made: Made) -> list[str]:
    """The rows of a version, without what no two versions have alike: ids, numbers, moments, and
    the names that MLflow makes up."""
    own = {
        **{each: f"id {place}" for place, each in enumerate(made.ids)},
        made.archive.name.removesuffix(".tar.gz"): "digest",
        f'"run {made.number}"': '"run"',
        f'"value": "{made.number}"': '"value"',
        f'"version": {made.number},': '"version"',
    }
    connection = sqlite3.connect(past.root / "mlflow.db")
    found = []
    for table, row in rows_of(connection, ("churn", made.number), made.ids):
        if table == "runs" or row.get("key") == "mlflow.runName":
            row |= {column: "made up" for column in ("name", "value") if column in row}
        line = f"{table} {json.dumps(row, sort_keys=True)}"
        for text, word in own.items():
            line = line.replace(text, word)
        found.append(re.sub(r"\b\d{13}\b", "moment", line))
    connection.close()
    return sorted(found)
