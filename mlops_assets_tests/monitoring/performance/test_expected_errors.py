"""A window of a regression has an estimate from what its version said of held-out rows."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.profile_store import held_out_path, inputs_path, reference_path
from mlops_assets.gateways.records import ModelVersion, Snapshot, TrainingSet
from mlops_assets.modeling.folds import LABEL, ROW, SPLIT
from mlops_assets.modeling.scoring import opened
from mlops_assets.monitoring import assets
from mlops_assets.monitoring.performance import expected_errors
from mlops_assets.serving import bundle
from mlops_assets.serving.profile import Profile
from mlops_assets_tests.builders import SCHEMA, Built, make_bundle, make_columns
from mlops_assets_tests.monitoring.performance.served import HOUR, NOW, Served
from mlops_assets_tests.serving.test_recorder import MANIFEST

ROWS = 600


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("regression") / "bundle", task="regression")


@pytest.fixture
def served(tmp_path, built):
    return Served(tmp_path, built, DataStore(str(tmp_path / "data"), {}))


def training_set(built: Built) -> pd.DataFrame:
    """Twice as many rows as are held out, with errors as `Served` draws them."""
    rows = pd.DataFrame(make_columns(2 * ROWS, seed=42))
    predicted = opened(built.folder).outcome(rows.assign(**{LABEL: 0.0})).predicted
    truth = predicted + np.random.default_rng(5).normal(size=len(rows))
    split = np.where(np.arange(len(rows)) % 2, "test", "train")
    return rows.assign(**{LABEL: truth, ROW: [f"r{n}" for n in range(len(rows))], SPLIT: split})


def keep(served: Served) -> str:
    return expected_errors.keep(
        served.store,
        "churn",
        1,
        opened=opened(served.built.folder),
        rows=training_set(served.built),
    )


def test_it_is_there_before_labels_and_near_what_they_then_tell(served):
    url = keep(served)
    kept = served.store.read_table(url)
    assert len(kept) == ROWS
    assert [*kept.columns] == [*SCHEMA.names, "prediction", LABEL]
    answers = served.answer(NOW - HOUR, seed=1, rows=1000)
    (window,) = served.measure().windows
    assert window.realised == {}
    estimated = window.estimated
    assert set(estimated) == {"rmse", "mae"}
    served.tell(answers)
    (window,) = served.measure().windows
    # It was made of the rows alone, and labels do not change it.
    assert window.estimated == estimated
    for name in ("rmse", "mae"):
        real = window.realised[name].value
        assert estimated[name].value == pytest.approx(real, rel=0.1)
        assert estimated[name].low <= real <= estimated[name].high


def test_a_log_of_some_columns_gives_one_too(served):
    keep(served)
    spec = served.experiment.monitoring
    served.experiment = served.experiment.model_copy(
        update={
            "monitoring": spec.model_copy(
                update={"prediction_log": spec.prediction_log.model_copy(update={"columns": ()})}
            )
        }
    )
    served.answer(NOW - HOUR, seed=2)
    (window,) = served.measure().windows
    assert set(window.estimated) == {"rmse", "mae"}


def test_a_version_of_which_nothing_was_kept_has_none(served):
    served.answer(NOW - HOUR, seed=1)
    (window,) = served.measure().windows
    assert window.estimated == {}


class Registry:
    """What the asset asks of the registry, over one bundle on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tags: dict[str, str] = {}

    def download(self, _uri: str, folder: Path) -> Path:
        return Path(shutil.copytree(self.folder, folder / "bundle"))

    def read_text(self, _run: str, _name: str) -> str | None:
        return None

    def tag_version(self, _name: str, _version: int, tags: dict[str, str]) -> None:
        self.tags |= tags


def test_the_reference_profile_keeps_what_captures_and_estimates_need(served, tmp_path):
    folder = Path(shutil.copytree(served.built.folder, tmp_path / "with-profile"))
    profile = Profile(SCHEMA, when=NOW)
    profile.track(make_columns(5, seed=0), None)
    (folder / bundle.REFERENCE_PROFILE).write_bytes(profile.serialize())
    bundle.seal(folder, served.built.manifest)
    url = served.store.write_table("churn/training_sets/d.parquet", training_set(served.built))
    snapshot = Snapshot("", "", ROWS, (), "", "")
    record = TrainingSet(url, "d", ROWS, ROWS, (), (), False, "", (), snapshot)
    version = ModelVersion("churn", 3, "run", "", "", "", champion=True)
    (reference_profile, _) = assets.build(served.experiment).assets
    registry = Registry(folder)
    reference_profile(
        training_set=record, version=version, data_store=served.store, model_registry=registry
    )
    store = served.store
    assert registry.tags == {"mlops.reference_profile": store.at(reference_path("churn", 3))}
    told = store.read_json(store.at(inputs_path("churn", 3)))
    assert told == {"schema": json.loads(json.dumps(SCHEMA.to_json())), "entity": MANIFEST.entity}
    assert len(store.read_table(store.at(held_out_path("churn", 3)))) == ROWS
