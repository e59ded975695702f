"""Whatever may be wrong has a severity, a chapter and a next action, and is nobody's own root."""

import re
from pathlib import Path

import pytest

from mlops_assets import vocabulary as names
from mlops_assets.experiment import loader
from mlops_assets.graph import build_experiment
from mlops_assets.monitoring.tickets import advice
from mlops_assets.monitoring.tickets.resources import cause_of
from mlops_assets_tests.builders import make_experiment
from mlops_assets_tests.runbook import RUNBOOK, hold_to_its_parts
from mlops_assets_tests.test_docs import ROOT, anchors

PACKAGE = ROOT / "mlops_assets"
CHECKS = [name for name in advice.ADVICE if "/" not in name and name != advice.SCHEDULES]

SENSORS = [
    value
    for name, value in vars(names).items()
    if name.endswith("_SENSOR") and value != names.TICKETS_SENSOR
]
OTHERS = [
    advice.RETRAIN,
    advice.DEPLOY,
    advice.MONITOR,
    f"runs/{names.RETENTION_JOB}",
    *(f"sensors/{sensor}" for sensor in SENSORS),
    f"schedules/{names.RETENTION_SCHEDULE}",
    f"schedules/{names.monitor_schedule('hour')}",
]


def checks() -> set[str]:
    """The causes that are checks, of every experiment there is and one without extras."""
    experiments = (*loader.load_all(Path(ROOT) / "configs"), make_experiment())
    parts = [build_experiment(each) for each in experiments]
    made = [each for part in parts for each in (*(part.assets or ()), *(part.asset_checks or ()))]
    return {cause_of(key) for each in made for key in each.check_keys}


def room_of(check: str) -> str:
    """Where its spec is made: a stage."""
    (constant,) = [name for name, value in vars(names).items() if value == check]
    (room,) = {
        path.relative_to(PACKAGE).parts[0]
        for path in PACKAGE.rglob("*.py")
        if "AssetCheckSpec(" in (code := path.read_text(encoding="utf-8"))
        and re.search(rf"names\.{constant}\b", code)
    }
    return room


@pytest.mark.parametrize("cause", [*sorted(checks()), *OTHERS])
def test_every_cause_has_advice(cause: str) -> None:
    assert advice.advice_of(cause) is not advice.OTHER


@pytest.mark.parametrize("cause", [*(f"asset/{check}" for check in CHECKS), *OTHERS, "asset/other"])
def test_advice_leads_to_a_chapter_and_says_what_to_do(cause: str) -> None:
    assert advice.chapter_of(cause) in anchors(RUNBOOK)
    assert advice.advice_of(cause).action.endswith(".")


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_has_its_chapter_in_the_runbook(check: str) -> None:
    assert advice.chapter_of(f"asset/{check}") == check
    parts = hold_to_its_parts(check)
    assert f"`mlops mute <name> {check} --for" in parts["Silence"]


def test_chapters_of_checks_stand_in_those_of_their_stages_and_none_is_of_another_check() -> None:
    stage, told = "", {}
    for level, title in re.findall(r"^(###?) (\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.M):
        if level == "##":
            stage = title.lower()
        elif title.islower():
            told[title] = stage
    assert told == {check: room_of(check) for check in CHECKS}


def test_there_is_advice_of_nothing_else() -> None:
    """Of a check that another part of the platform makes, its name is in the vocabulary."""
    known = {value for value in vars(names).values() if isinstance(value, str)}
    assert {*CHECKS} <= known
    assert {n for n in advice.ADVICE if "/" in n} <= set(OTHERS)


def test_all_sensors_but_that_of_tickets_are_looked_after() -> None:
    assert all(names.is_ours(sensor) for sensor in SENSORS)
    assert not names.is_ours(names.TICKETS_SENSOR)


def test_nothing_explains_itself() -> None:
    def roots(cause: str) -> set[str]:
        direct = set(advice.FOLLOWS.get(cause, ()))
        return direct.union(*map(roots, direct)) if direct else direct

    for cause in advice.FOLLOWS:
        assert cause not in roots(cause)
        assert roots(cause) <= advice.ADVICE.keys()
