from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mlops_assets.gateways.study_locks import StudyBusyError
from mlops_assets.gateways.study_store import StudyStore
from mlops_assets.tuning.coordinator import Progress
from mlops_assets.tuning.spec import Categorical
from mlops_assets.tuning.study import StudyError, StudyResult, finished_trials, run
from mlops_assets.tuning.trials import FinishedTrial
from mlops_assets_tests.tuning import objectives
from mlops_assets_tests.tuning.objectives import Boosting, Bowl, CannotBeBuilt, Fails, KillsItself


def tune(store: Path | str, factory: Any = None, **changes: Any) -> StudyResult:
    extra = {k: changes.pop(k) for k in ("on_trial", "clock", "direction", "folds") if k in changes}
    options = {"direction": "minimize", "folds": 3} | extra
    return run(
        factory or Bowl(),
        objectives.spec(**changes),
        study_name="bowl",
        store=StudyStore(str(store)),
        **options,
    )


def essence(trials: tuple[FinishedTrial, ...]) -> list[tuple[Any, ...]]:
    return [(t.slot, t.parameters, t.state, t.folds, t.error) for t in trials]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    return tune(tmp_path_factory.mktemp("reference"), workers=1, n_trials=30)


def test_the_number_of_workers_changes_no_trial(tmp_path, reference):
    parallel = tune(tmp_path, Bowl(seconds=0.01), workers=3, n_trials=30)
    assert essence(parallel.trials) == essence(reference.trials)
    assert parallel.best.slot == reference.best.slot
    assert [t.slot for t in parallel.trials] == list(range(30))


def test_trials_are_pruned_and_the_pruned_are_worse(reference):
    pruned = [t for t in reference.trials if t.state == "pruned"]
    assert pruned
    assert all(len(t.folds) == 2 for t in pruned)
    assert min(t.folds[0] for t in pruned) > reference.best.folds[0]


def test_without_pruning_every_trial_completes(tmp_path):
    result = tune(tmp_path, pruning=False, n_trials=16)
    assert result.count("complete") == 16


def test_another_seed_gives_other_trials(tmp_path, reference):
    other = tune(tmp_path, seed=1, n_trials=4)
    assert [t.parameters for t in other.trials] != [t.parameters for t in reference.trials[:4]]


def test_raising_n_trials_keeps_the_finished_ones(tmp_path, reference):
    log = tmp_path / "log"
    tune(tmp_path / "s", Bowl(log=log), n_trials=10)
    before = len(log.read_text().splitlines())
    more = tune(tmp_path / "s", Bowl(log=log), n_trials=15)
    assert before == 30  # nothing is pruned so early
    assert essence(more.trials) == essence(reference.trials[:15])
    folds_run_now = len(log.read_text().splitlines()) - before
    assert folds_run_now == sum(len(t.folds) for t in more.trials[10:])


def test_lowering_n_trials_gives_what_the_lower_number_would_have_given(tmp_path, reference):
    tune(tmp_path, n_trials=12)
    fewer = tune(tmp_path, n_trials=5)
    assert essence(fewer.trials) == essence(reference.trials[:5])


def test_a_database_gives_the_same_trials_and_keeps_them(tmp_path, reference):
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    tune(url, n_trials=7)
    again = tune(url, n_trials=14)
    assert essence(again.trials) == essence(reference.trials[:14])


def test_the_loaded_study_serves_optunas_plots(tmp_path):
    import optuna

    tune(tmp_path, n_trials=16)
    with StudyStore(str(tmp_path)).read("bowl") as study:
        assert optuna.importance.get_param_importances(study)
        for plot in (
            optuna.visualization.plot_optimization_history,
            optuna.visualization.plot_parallel_coordinate,
            optuna.visualization.plot_intermediate_values,
            optuna.visualization.plot_timeline,
        ):
            assert plot(study).data
        assert study.best_value == pytest.approx(
            min(t.score for t in finished_trials(study) if t.score is not None)
        )


def test_a_failed_trial_is_recorded_and_not_repeated(tmp_path):
    first = tune(tmp_path, Fails(below=-2, nan_above=4), n_trials=12)
    errors = {t.slot: t.error for t in first.trials if t.state == "failed"}
    assert "fold 0: ArithmeticError: no good" in errors.values()
    assert all(t.parameters["x"] < -2 or t.parameters["x"] > 4 for t in first.trials if t.error)
    again = tune(tmp_path, Bowl(), n_trials=12)
    assert essence(again.trials) == essence(first.trials)


def test_a_score_that_is_not_a_number_fails_the_trial(tmp_path):
    result = tune(tmp_path, Fails(below=-99, nan_above=0), n_trials=8)
    failed = [t for t in result.trials if t.state == "failed"]
    assert failed
    assert {t.error for t in failed} == {"the score of fold 0 is nan, not a finite number"}


def test_when_all_fail_the_error_tells_and_a_mended_objective_starts_over(tmp_path, reference):
    with pytest.raises(StudyError, match=r"all 5 trials failed, 5 .*ArithmeticError: no good"):
        tune(tmp_path, Fails(), n_trials=5)
    mended = tune(tmp_path, Bowl(), n_trials=5)
    assert essence(mended.trials) == essence(reference.trials[:5])


def test_a_hopeless_study_stops_early(tmp_path):
    with pytest.raises(StudyError, match="all 20 trials failed"):
        tune(tmp_path, Fails(), n_trials=500)


def test_a_killed_worker_costs_a_retry_and_changes_no_trial(tmp_path, reference):
    result = tune(tmp_path / "s", KillsItself(tmp_path, times=1), n_trials=10)
    assert essence(result.trials) == essence(reference.trials[:10])
    assert any(p.is_file() for p in tmp_path.iterdir())


def test_a_trial_that_always_kills_its_worker_fails(tmp_path):
    result = tune(tmp_path / "s", KillsItself(tmp_path, times=99), n_trials=4)
    for trial in result.trials:
        assert (trial.state == "failed") == (trial.parameters["x"] > 0)
        assert trial.error is None or "died 3 times during this trial: killed by" in trial.error
    assert 0 < result.count("failed") < 4
    # Two retries, not more.
    assert {p.stat().st_size for p in tmp_path.iterdir() if p.is_file()} == {3}


@pytest.mark.parametrize(
    ("how", "message"),
    [("raise", "FileNotFoundError: no such training set"), ("kill", "killed by signal 9")],
)
def test_an_objective_that_cannot_be_built_ends_the_study(tmp_path, how, message):
    with pytest.raises(StudyError, match=message):
        tune(tmp_path, CannotBeBuilt(how))


def test_an_objective_that_cannot_be_sent_is_refused(tmp_path):
    with pytest.raises(StudyError, match="cannot be sent to a worker"):
        tune(tmp_path, lambda: objectives.bowl)


class Clock:
    """Advances by `step` seconds whenever it is read."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_no_trial_starts_after_the_deadline(tmp_path, reference):
    result = tune(tmp_path, timeout_minutes=1, clock=Clock(6.0), n_trials=30)
    assert result.stopped == "timeout"
    assert 0 < len(result.trials) < 30
    assert essence(result.trials) == essence(reference.trials[: len(result.trials)])
    assert tune(tmp_path, n_trials=30).stopped == "complete"


def test_no_trial_in_time_is_an_error(tmp_path):
    with pytest.raises(StudyError, match="no trial was finished within 1 minutes"):
        tune(tmp_path, timeout_minutes=1, clock=Clock(61.0))


def test_an_empty_space_is_one_trial(tmp_path):
    result = tune(tmp_path, Constant(), search_space={}, n_trials=40)
    assert essence(result.trials) == [(0, {}, "complete", (1.0, 2.0, 3.0), None)]


def test_a_finite_space_is_searched_without_repetition(tmp_path):
    space = {
        "a": {"type": "int", "low": 1, "high": 3},
        "b": {"type": "float", "low": 0.1, "high": 0.3, "step": 0.1},
    }
    result = tune(tmp_path, Constant(), search_space=space, n_trials=40)
    assert len({tuple(t.parameters.values()) for t in result.trials}) == len(result.trials) == 9
    assert {t.parameters["b"] for t in result.trials} == {0.1, 0.2, 0.3}


class Constant:
    def __call__(self):
        return self.score

    def score(self, parameters, fold):
        return fold + 1.0


def test_ties_go_to_the_lowest_slot(tmp_path):
    space = {"a": {"type": "int", "low": 1, "high": 5}}
    assert tune(tmp_path, Constant(), search_space=space, direction="maximize").best.slot == 0


def test_progress_counts_up_and_the_best_never_gets_worse(tmp_path):
    seen: list[Progress] = []
    tune(tmp_path, n_trials=6, on_trial=lambda trial, progress: seen.append(progress))
    assert [p.finished for p in seen] == [1, 2, 3, 4, 5, 6]
    assert {p.total for p in seen} == {6}
    assert [p.best for p in seen] == sorted((p.best for p in seen), reverse=True)
    assert seen[-1].eta_seconds == 0


def test_a_second_coordinator_is_refused(tmp_path):
    def intrude(trial, progress):
        with pytest.raises(StudyBusyError, match="'bowl' is being written by process"):
            tune(tmp_path)
        intruded.append(trial.slot)

    intruded: list[int] = []
    tune(tmp_path, n_trials=2, on_trial=intrude)
    assert len(intruded) == 2


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"seed": 7}, "seed"), ({"pruning": False}, "pruning"), ({"folds": 4}, "folds")],
)
def test_a_study_made_otherwise_is_refused(tmp_path, changes, named):
    tune(tmp_path, n_trials=1)
    with pytest.raises(StudyError, match=f"made with another {named}"):
        tune(tmp_path, **changes)


def test_choices_that_python_takes_for_equal_are_refused():
    with pytest.raises(ValidationError, match=r"1, 1\.0 and true are one value"):
        Categorical(type="categorical", choices=(1, True))


def test_a_real_model_is_tuned_alike_by_one_and_two_workers(tmp_path):
    space = {
        "learning_rate": {"type": "float", "low": 0.01, "high": 1, "log": True},
        "max_leaf_nodes": {"type": "int", "low": 3, "high": 31},
        "max_features": {"type": "float", "low": 0.2, "high": 1},
    }
    options = {"search_space": space, "n_trials": 10, "direction": "maximize"}
    one = tune(tmp_path / "1", Boosting(), workers=1, **options)
    two = tune(tmp_path / "2", Boosting(), workers=2, **options)
    assert essence(one.trials) == essence(two.trials)
    assert one.best.score is not None
    assert one.best.score > 0.95
