"""When realised quality is said to have fallen, and of which kind a fall is."""

import numpy as np
import pytest

from mlops_assets.gateways.realised import QualityWindow
from mlops_assets.gateways.records import Metric
from mlops_assets.monitoring.domain import Separation
from mlops_assets.monitoring.performance import verdict
from mlops_assets.monitoring.performance.verdict import Inputs, Standard
from mlops_assets.monitoring.spec import QualitySpec

HELD_OUT = Metric(0.85, 0.83, 0.87)
AUC = Standard("roc_auc", True, HELD_OUT, None)


def window(value, *, day=1, labelled=200, version=3, half=0.02, metric="roc_auc"):
    return QualityWindow(
        start=f"2026-03-{day:02d}T00:00:00+00:00",
        version=version,
        predictions=400,
        labelled=labelled,
        strange=0,
        lag_median_s=None,
        lag_max_s=None,
        realised={metric: Metric(value, value - half, value + half)},
        estimated={},
        revision=1,
        before={},
        computed_at="",
        log="",
        labels="",
        joined="",
    )


def judged(*values, standard=AUC, spec=None):
    windows = [
        window(value, day=day, metric=standard.metric) for day, value in enumerate(values, 1)
    ]
    return verdict.judge(windows, 3, standard, spec or QualitySpec())


def separation(*, drifted):
    return Separation(0.71, (0.45, 0.55), (900, 900), (("charges", 0.2), ("tenure", 0.0)), drifted)


@pytest.mark.parametrize(
    ("values", "passed"),
    [
        ((0.85, 0.85, 0.85), True),
        ((0.85, 0.85, 0.70), True),
        ((0.85, 0.70, 0.70), False),
        ((0.70, 0.85, 0.70), False),
        ((0.70, 0.70, 0.85, 0.85), True),
        ((0.83, 0.83, 0.83), True),  # lower, but chance explains it
        ((0.99, 0.99, 0.99), True),  # better is no fall
    ],
)
def test_two_of_three_windows_are_an_alarm(values, passed):
    assert judged(*values).passed == passed


def test_a_margin_is_what_a_fall_must_exceed():
    assert not judged(0.8, 0.8).passed
    assert judged(0.8, 0.8, spec=QualitySpec(margin=0.04)).passed


def test_an_error_falls_by_rising():
    rmse = Standard("rmse", False, Metric(10.0, 9.9, 10.1), None)
    assert judged(9.0, 9.0, standard=rmse).passed
    assert not judged(10.5, 10.5, standard=rmse).passed


def test_the_floor_counts_where_nothing_else_is_known():
    floor = Standard("roc_auc", True, None, 0.8)
    assert judged(0.81, 0.79, standard=floor).passed
    assert not judged(0.77, 0.77, standard=floor).passed
    ceiling = Standard("rmse", False, None, 5.0)
    assert not judged(5.1, 5.1, standard=ceiling).passed
    nothing = judged(0.1, 0.1, standard=Standard("roc_auc", True, None, None))
    assert nothing.passed
    assert nothing.note == "nobody wrote down roc_auc of version 3"


def test_windows_of_few_labels_and_of_other_versions_are_not_judged():
    few = [window(0.5, labelled=99), window(0.5, day=2, version=2)]
    found = verdict.judge(few, 3, AUC, QualitySpec())
    assert found.passed
    assert found.looked_at == ()
    assert "no window of version 3 has 100 labels and every class yet, the best has 99" in (
        found.note
    )


def test_the_interval_of_the_difference_holds_the_true_one_as_often_as_it_says():
    """Two means of normal rows, whose intervals are known: in 95 % of 2,000 worlds, give or take
    what chance explains."""
    rng = np.random.default_rng(0)
    then, now = rng.normal(0.5, 0.02, 2000), rng.normal(0.4, 0.04, 2000)
    held = 0
    for first, second in zip(then, now, strict=True):
        found = verdict.worse_by(
            Metric(first, first - 1.96 * 0.02, first + 1.96 * 0.02),
            Metric(second, second - 1.96 * 0.04, second + 1.96 * 0.04),
            greater=True,
        )
        held += found.low <= 0.1 <= found.high
    assert 0.935 <= held / 2000 <= 0.965


def test_words_tell_the_kinds_of_fall_apart():
    found, spec = judged(0.7, 0.7), QualitySpec()
    said = verdict.words(found, AUC, spec, Inputs(900, (), separation(drifted=False)))
    assert said.startswith("roc_auc fell in 2 of 2 windows, last to 0.7 (0.68 to 0.72) on 200 ")
    assert "against 0.85 (0.83 to 0.87) on held-out rows; concept drift: the inputs hold" in said
    drifted = verdict.words(found, AUC, spec, Inputs(900, ("charges", "tenure")))
    assert drifted.endswith("with drifted inputs: charges, tenure not as in training")
    for rows in (900, 0):
        together = verdict.words(found, AUC, spec, Inputs(rows, (), separation(drifted=True)))
        assert together.endswith(
            "with drifted inputs: no column alone, but their combinations are not as in training "
            "(area 0.71, by charges)"
        )
    for others in (Inputs(0, ()), Inputs(0, (), separation(drifted=False))):
        assert "is not known" in verdict.words(found, AUC, spec, others)
    unseen = verdict.words(found, AUC, spec, Inputs(900, (), unseen="no rows"))
    assert unseen.endswith(
        "concept drift as far as single columns tell: each holds; their combinations are not known "
        "(no rows)"
    )
    good = verdict.words(judged(0.85, 0.7), AUC, spec, None)
    assert good.endswith("lower in 1, 2 are an alarm")
