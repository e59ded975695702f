import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.tuning.search import LAG, MIN_PEERS, propose, prune_thresholds
from mlops_assets.tuning.space import distributions, grid_size
from mlops_assets.tuning.spec import TuningSpec
from mlops_assets.tuning.trials import FinishedTrial, best, from_optuna, to_optuna
from mlops_assets_tests.tuning.objectives import SPACE

bounds = st.tuples(st.integers(1, 50), st.integers(0, 50)).map(lambda b: (b[0], b[0] + b[1]))


@st.composite
def dimensions(draw, when=None):
    low, high = draw(bounds)
    kind = draw(st.sampled_from(["float", "stepped", "log", "int", "int by 2", "categorical"]))
    made = {
        "float": {"type": "float", "low": -low, "high": high},
        "stepped": {"type": "float", "low": low / 10, "high": high / 10, "step": 0.3},
        "log": {"type": "float", "low": low / 1000, "high": high, "log": True},
        "int": {"type": "int", "low": low, "high": high, "log": draw(st.booleans())},
        "int by 2": {"type": "int", "low": low, "high": low + 2 * high, "step": 2},
        "categorical": {"type": "categorical", "choices": [None, True, "a", 2.5][: 1 + low % 4]},
    }[kind]
    return made if when is None else made | {"when": when}


@st.composite
def spaces(draw):
    space = {f"p{i}": draw(dimensions()) for i in range(draw(st.integers(0, 3)))}
    if draw(st.booleans()):
        space["mode"] = {"type": "categorical", "choices": ["on", "off", None]}
        space["child"] = draw(dimensions({"parameter": "mode", "is_in": ["on", None]}))
    return TuningSpec.model_validate({"search_space": space}).search_space


def history(space, n, *, seed=0):
    """The first n trials of a study, every fifth failed and every seventh pruned."""
    trials = []
    for slot in range(n):
        parameters = suggest(space, slot, trials, seed=seed)
        value = len(repr(sorted(parameters.items()))) % 11 / 11
        state = "failed" if slot % 5 == 4 else "pruned" if slot % 7 == 6 else "complete"
        folds = {"failed": (), "pruned": (value, value), "complete": (value,) * 3}[state]
        trials.append(FinishedTrial(slot, parameters, state, folds, 1.0))
    return trials


def suggest(space, slot, trials, *, seed=0):
    pending = {t.slot: t.parameters for t in trials if slot - LAG < t.slot < slot}
    return propose(
        space, slot=slot, finished=trials, pending=pending, seed=seed, direction="minimize"
    )


def check(space, parameters):
    for name, dimension in space.items():
        active = dimension.when is None or parameters["mode"] in dimension.when.is_in
        assert (name in parameters) == active
        if not active:
            continue
        value = parameters[name]
        if dimension.type == "categorical":
            assert any(
                value is c or (type(value) is type(c) and value == c) for c in dimension.choices
            )
            continue
        assert dimension.low <= value <= dimension.high
        assert isinstance(value, int if dimension.type == "int" else float)
        if dimension.step:
            steps = (value - dimension.low) / dimension.step
            assert math.isclose(steps, round(steps), abs_tol=1e-9)


@settings(max_examples=25, deadline=None)
@given(space=spaces(), seed=st.integers(0, 2**40))
def test_suggestions_stay_in_bounds_and_conditions_hold(space, seed):
    trials = history(space, 22, seed=seed)
    assert set(trials[-1].parameters) <= set(space)
    for trial in trials:
        check(space, trial.parameters)
        assert set(distributions(space, trial.parameters)) == set(trial.parameters)


@settings(max_examples=15, deadline=None)
@given(space=spaces(), data=st.data())
def test_a_suggestion_depends_on_nothing_later_than_the_lag(space, data):
    trials = history(space, 30)
    slot = data.draw(st.integers(LAG, 29))
    pending = {s: trials[s].parameters for s in range(slot - LAG + 1, slot)}
    options = {"slot": slot, "pending": pending, "seed": 0, "direction": "minimize"}
    early = trials[: slot - LAG + 1]
    shuffled = data.draw(st.permutations(trials))
    expected = propose(space, finished=early, **options)
    assert propose(space, finished=shuffled, **options) == expected == trials[slot].parameters


def test_scores_within_reach_do_matter():
    space = TuningSpec.model_validate({"search_space": SPACE}).search_space
    trials = history(space, 30)
    turned = [
        FinishedTrial(t.slot, t.parameters, t.state, tuple(-f for f in t.folds), 1.0)
        for t in trials
    ]
    assert suggest(space, 30, trials) != suggest(space, 30, turned)


def test_the_order_of_the_yaml_lines_does_not_matter():
    space = TuningSpec.model_validate({"search_space": SPACE}).search_space
    reversed_space = dict(reversed(space.items()))
    assert [t.parameters for t in history(space, 20)] == [
        t.parameters for t in history(reversed_space, 20)
    ]


def test_an_empty_space_gives_no_parameters():
    assert suggest({}, 3, []) == {}
    assert grid_size({}) == 1


@pytest.mark.parametrize(
    ("dimension", "size"),
    [
        ({"type": "int", "low": 1, "high": 9, "step": 2}, 5),
        ({"type": "float", "low": 0, "high": 1, "step": 0.3}, 4),
        ({"type": "float", "low": 2, "high": 2}, 1),
        ({"type": "float", "low": 0, "high": 1}, None),
        ({"type": "int", "low": 1, "high": 10**12}, None),
        ({"type": "categorical", "choices": ["a", None, False]}, 3),
    ],
)
def test_points_of_a_dimension(dimension, size):
    space = TuningSpec.model_validate({"search_space": {"p": dimension}}).search_space
    assert grid_size(space) == size


def test_points_of_a_conditional_space():
    space = TuningSpec.model_validate(
        {
            "search_space": {
                "mode": {"type": "categorical", "choices": ["on", "off"]},
                "p": {
                    "type": "int",
                    "low": 1,
                    "high": 4,
                    "when": {"parameter": "mode", "is_in": ["on"]},
                },
            }
        }
    ).search_space
    assert grid_size(space) == 5


def complete(slot, *folds):
    return FinishedTrial(slot, {}, "complete", folds, 1.0)


def test_thresholds_are_medians_of_running_means():
    trials = [complete(slot, slot, slot + 2.0, 0.0, 0.0) for slot in range(MIN_PEERS)]
    limits = prune_thresholds(trials, slot=MIN_PEERS + LAG, folds=4, direction="minimize")
    assert limits == (None, 3.0, pytest.approx(2.0), None)


def test_thresholds_need_peers_early_enough():
    trials = [complete(slot, 1.0, 1.0, 1.0) for slot in range(40)]
    of = lambda slot: prune_thresholds(trials, slot=slot, folds=3, direction="minimize")  # noqa: E731
    assert of(MIN_PEERS + LAG - 2) == (None, None, None)
    assert of(MIN_PEERS + LAG - 1) == (None, 1.0, None)


def test_best_prefers_the_lowest_slot_of_equals():
    trials = [complete(3, 1.0), complete(1, 1.0), complete(2, 0.5)]
    assert best(trials, "maximize").slot == 1
    assert best(trials, "minimize").slot == 2
    assert best([], "minimize") is None


@pytest.mark.parametrize("state", ["complete", "pruned", "failed"])
def test_a_trial_survives_optunas_form(state):
    from datetime import UTC, datetime

    space = TuningSpec.model_validate({"search_space": SPACE}).search_space
    parameters = {"x": 0.1 + 0.2, "rate": 0.01, "depth": 3, "kind": True, "extra": 0.3}
    error = "boom" if state == "failed" else None
    trial = FinishedTrial(4, parameters, state, (0.5, 0.25), 1.25, error)
    at = datetime(2026, 1, 2, tzinfo=UTC)
    frozen = to_optuna(trial, distributions(space, parameters), finished_at=at)
    assert from_optuna(frozen) == trial
    assert frozen.duration.total_seconds() == 1.25
