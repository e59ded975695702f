"""The pictures of a study show its trials, however few there are."""

from mlops_assets.gateways.study_store import StudyStore
from mlops_assets.tuning import plots
from mlops_assets.tuning.study import run
from mlops_assets_tests.tuning import objectives
from mlops_assets_tests.tuning.objectives import Bowl


def studied(tmp_path, **changes):
    store = StudyStore(str(tmp_path))
    result = run(
        Bowl(),
        objectives.spec(**changes),
        study_name="bowl",
        store=store,
        direction="minimize",
        folds=3,
    )
    return store, result


def test_a_study_has_history_importances_and_parallel_coordinates(tmp_path):
    store, result = studied(tmp_path, n_trials=12)
    with store.open("bowl", direction="minimize") as study:
        figures = plots.figures(study, result.trials, metric="rmse", direction="minimize")
        page = plots.interactive(study)
    assert list(figures) == ["history", "importances", "parallel_coordinates"]
    (history,) = figures["history"].axes
    shown = sum(len(points.get_offsets()) for points in history.collections)
    assert shown == len([t for t in result.trials if t.state != "failed"])
    assert page.count("Plotly.newPlot") == 3
    assert "<script src=" not in page


def test_the_best_line_never_gets_worse(tmp_path):
    store, result = studied(tmp_path, n_trials=12)
    with store.open("bowl", direction="minimize") as study:
        figures = plots.figures(study, result.trials, metric="rmse", direction="minimize")
    (best,) = figures["history"].axes[0].get_lines()
    values = list(best.get_ydata())
    assert values == sorted(values, reverse=True)
    assert values[-1] == result.best.score


def test_one_trial_is_a_history(tmp_path):
    store, result = studied(tmp_path, n_trials=1)
    with store.open("bowl", direction="minimize") as study:
        figures = plots.figures(study, result.trials, metric="rmse", direction="minimize")
        page = plots.interactive(study)
    assert list(figures) == ["history"]
    assert page.count("Plotly.newPlot") == 1
