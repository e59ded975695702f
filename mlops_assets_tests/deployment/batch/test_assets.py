"""What a batch scores is part of the traffic that its version is judged by."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pandas as pd

from mlops_assets import vocabulary as names
from mlops_assets.deployment.batch import assets
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.records import Endpoint
from mlops_assets.monitoring import assets as monitoring
from mlops_assets.monitoring import windows
from mlops_assets_tests.builders import Built, make_bundle, make_columns, make_experiment
from mlops_assets_tests.fakes.registry import Kept, MemoryRegistry


class Champion(MemoryRegistry):
    """Version 3 of one bundle is the champion."""

    def __init__(self, built: Built) -> None:
        tags = {"mlops.bundle_uri": "bundle", "mlops.bundle_digest": built.digest}
        super().__init__({"churn": Kept(aliases={"champion": 3}, versions={3: tags})})
        self.folder = built.folder

    def download(self, _uri: str, folder: Path) -> Path:
        return Path(shutil.copytree(self.folder, folder / "bundle"))


def test_its_rows_are_in_the_windows_of_the_serving_profile(tmp_path: Path) -> None:
    built = make_bundle(tmp_path / "built")
    (tmp_path / "rows").mkdir()
    for name, rows in (("a", 120), ("b", 30)):
        table = pd.DataFrame(make_columns(rows, seed=rows))
        table.to_parquet(tmp_path / "rows" / f"{name}.parquet", index=False)
    batch = {
        "name": "nightly",
        "input": str(tmp_path / "rows"),
        "output": str(tmp_path / "out"),
    }
    experiment = make_experiment(
        deployment={"targets": [{"kind": "local"}], "batch": [batch]},
        monitoring={"window": "week"},
    )
    store = DataStore(str(tmp_path / "data"), {})
    given = {"data_store": store, "model_registry": Champion(built)}
    assert dg.materialize_to_memory([*assets.build(experiment).assets], resources=given).success
    now = datetime.now(UTC)
    endpoint = Endpoint("churn", "local", "http://127.0.0.1:9", 3, "d", now.isoformat(), None)
    record = windows.lately(store, experiment, [endpoint], now=now)
    assert sum(window.rows for window in record.windows) == 150
    assert record.version == 3
    older = windows.lately(
        store, experiment, [Endpoint(**{**vars(endpoint), "version": 2})], now=now
    )
    assert older.windows == ()


def test_the_lineage_shows_it() -> None:
    batch = {"name": "nightly", "input": "rows", "output": "out"}
    experiment = make_experiment(deployment={"targets": [{"kind": "local"}], "batch": [batch]})
    (_, serving_profile) = monitoring.build(experiment).assets
    (spec,) = serving_profile.specs
    made_from = {dependency.asset_key for dependency in spec.deps}
    assert names.asset_key("churn", names.BATCH, "nightly") in made_from
