from pathlib import Path

import pytest

from mlops_assets.gateways.study_store import StudyStore
from mlops_assets.tuning.study import run
from mlops_assets_tests.tuning import objectives
from mlops_assets_tests.tuning.objectives import Bowl


def tune(folder: Path, **hooks):
    return run(
        Bowl(),
        objectives.spec(n_trials=4),
        study_name="bowl",
        store=StudyStore(str(folder)),
        direction="minimize",
        folds=3,
        **hooks,
    )


def test_the_start_comes_once_and_before_any_trial(tmp_path):
    seen: list[str] = []
    tune(
        tmp_path,
        on_start=lambda: seen.append("start"),
        on_trial=lambda trial, progress: seen.append("trial"),
    )
    assert seen == ["start", *["trial"] * 4]


def test_a_study_with_nothing_left_to_do_starts_as_well(tmp_path):
    tune(tmp_path)
    seen: list[str] = []
    tune(tmp_path, on_start=lambda: seen.append("start"))
    assert seen == ["start"]


def test_an_error_at_the_start_ends_the_workers_and_is_raised(tmp_path):
    def broken() -> None:
        raise ConnectionError("no answer")

    with pytest.raises(ConnectionError, match="no answer"):
        tune(tmp_path, on_start=broken)
    assert len(tune(tmp_path).trials) == 4
