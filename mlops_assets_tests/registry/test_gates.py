"""How often the gates are wrong: a short run of the simulation that bench/gates.py publishes."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mlops_assets import vocabulary
from mlops_assets.registry.checks import DESCRIPTIONS, GATES
from mlops_assets.registry.spec import PromotionSpec

BENCH = Path(__file__).parents[2] / "bench" / "gates.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_gates", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def promotions(bench: Any, setting: Any, trials: int, **policy: Any) -> int:
    asked = PromotionSpec(**policy).resolved("roc_auc")
    return sum(bench.promoted(setting, k, policy=asked, resamples=200) for k in range(trials))


def test_noise_is_hardly_ever_promoted_and_a_true_gain_nearly_always(bench: Any) -> None:
    """Seeds are fixed: 40 candidates of each kind, always the same."""
    noise, better = (bench.Setting(name, 2000, gain, rho) for name, gain, rho in (
        ("noise", 0.0, 0.9), ("better", 0.02, None),
    ))  # fmt: skip
    assert promotions(bench, noise, 40) <= 2
    assert promotions(bench, better, 40) >= 34


def test_the_level_is_how_often_noise_passes(bench: Any) -> None:
    """At a level of 20% about a fifth of equally good candidates are promoted."""
    noise = bench.Setting("noise", 500, 0.0, 0.9)
    assert 8 <= promotions(bench, noise, 80, level=0.2) <= 26


def test_the_decision_follows_neither_the_order_of_rows_nor_of_trials(bench: Any) -> None:
    setting = bench.SETTINGS[0]
    policy = PromotionSpec().resolved("roc_auc")
    for trial in range(3):
        frame = bench.candidates(setting, (0, trial))
        asked: dict[str, Any] = {"policy": policy, "resamples": 200}
        first = bench.decided(frame, setting.gain, **asked)
        for seed in range(2):
            shuffled = frame.sample(frac=1, random_state=seed)
            assert bench.decided(shuffled, setting.gain, **asked) == first
    ask = {"policy": policy, "resamples": 200}
    forwards = [bench.promoted(setting, k, **ask) for k in range(8)]
    backwards = [bench.promoted(setting, k, **ask) for k in reversed(range(8))]
    assert forwards == backwards[::-1]


def test_every_gate_has_a_name_and_a_description() -> None:
    assert set(GATES) == set(DESCRIPTIONS)
    named = [value for value in vars(vocabulary).values() if isinstance(value, str)]
    assert set(GATES) <= set(named)
