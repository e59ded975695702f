"""The schema that was written down holds until a person says otherwise."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from mlops_assets import resources, settings
from mlops_assets import vocabulary as names
from mlops_assets.graph import build_experiment
from mlops_assets_tests.builders import make_experiment


class Rows:
    """A source whose file changes, and runs that read it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "rows.csv"
        source = {"kind": "csv", "path": str(self.path)}
        self.experiment = make_experiment(features={"source": source, "target": "churned"})
        self.shared = dg.Definitions(
            resources=resources.build(settings.load({"MLOPS_HOME": str(folder)})),
            executor=dg.in_process_executor,
        )

    def write(self, charges: list[Any]) -> None:
        churned = ["yes" if n % 3 else "no" for n in range(len(charges))]
        columns = {"tenure": range(len(charges)), "charges": charges, "churned": churned}
        pd.DataFrame(columns).to_csv(self.path, index=False)

    def judged(self, **config: Any) -> bool:
        """Whether the data of a run is as its schema says."""
        keys = [names.asset_key("churn", part) for part in (names.SOURCE, names.FEATURES)]
        job = dg.Definitions.merge(
            build_experiment(self.experiment),
            self.shared,
            dg.Definitions(jobs=[dg.define_asset_job("read", dg.AssetSelection.assets(*keys))]),
        ).resolve_job_def("read")
        run_config = {"ops": {"churn__features": {"config": config}}}
        done = job.execute_in_process(run_config=run_config, raise_on_error=False)
        (said,) = [
            check
            for check in done.get_asset_check_evaluations()
            if check.check_name == names.MATCHES_SCHEMA
        ]
        return said.passed


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    return Rows(tmp_path)


def test_a_changed_type_is_refused_until_the_schema_is_inferred_again(rows: Rows) -> None:
    rows.write([float(n) for n in range(300)])
    assert rows.judged()
    rows.write([("low", "high")[n % 2] for n in range(300)])
    assert not rows.judged()
    assert not rows.judged(), "the first refusal does not make it right"
    assert rows.judged(infer_schema_again=True)
    assert rows.judged()
