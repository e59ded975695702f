"""What was measured of a version goes with it, and by its age."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.registered import RegistryVersion
from mlops_assets.registry import stored
from mlops_assets.registry.retention import Usage
from mlops_assets_tests.builders import make_experiment

NOW = datetime.now(UTC)


def version(number: int) -> RegistryVersion:
    return RegistryVersion("churn", number, f"run{number}", "runs:/r/model", {}, 0)


def test_measured_quality_goes_with_its_version_or_when_it_is_old(tmp_path: Path) -> None:
    store = DataStore(str(tmp_path), {})
    old = (NOW - timedelta(days=91)).timestamp()
    for path, aged in (
        ("1/20260503T080000Z.json", False),
        ("2/20260503T080000Z.json", True),
        ("2/logged/20260503T090000Z.json", False),
        ("unknown.json", False),
    ):
        store.write_json(f"churn/performance/{path}", {})
        if aged:
            os.utime(tmp_path / "churn" / "performance" / path, (old, old))
    gone = stored.superfluous(
        make_experiment(),
        store,
        stay=[version(2)],
        go=[version(1)],
        usage=Usage({}, {}, ()),
        latest=[],
        now=NOW,
    )
    assert [one.path.removeprefix("churn/performance/") for one in gone] == [
        "1/20260503T080000Z.json",
        "2/20260503T080000Z.json",
    ]
