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
from mlops_assets_tests.test_docs import ROOT, anchors

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


@pytest.mark.parametrize("cause", [*sorted(checks()), *OTHERS])
def test_every_cause_has_advice(cause: str) -> None:
    assert advice.advice_of(cause) is not advice.OTHER


@pytest.mark.parametrize("name", [*advice.ADVICE, "other"])
def test_advice_leads_to_a_chapter_and_says_what_to_do(name: str) -> None:
    found = advice.ADVICE.get(name, advice.OTHER)
    assert found.chapter in anchors(ROOT / "RUNBOOK.md")
    assert found.action.endswith(".")


@pytest.mark.parametrize("check", sorted({cause.rpartition("/")[2] for cause in checks()}))
def test_the_chapter_of_a_check_says_what_it_means_that_it_fails(check: str) -> None:
    runbook = (ROOT / "RUNBOOK.md").read_text(encoding="utf-8")
    chapters = {text.partition("\n")[0]: text for text in runbook.split("\n## ")[1:]}
    chapter = chapters[advice.ADVICE[check].chapter.capitalize()]
    found = re.search(
        rf"^\*\*`{check}` fails\*\*.*?(?=\n\n\*\*|\Z)", chapter, re.MULTILINE | re.DOTALL
    )
    assert found, f"RUNBOOK.md does not say what to do when {check} fails"
    assert len(found[0].split()) > 15


def test_there_is_advice_of_nothing_else() -> None:
    """Of a check that another part of the platform makes, its name is in the vocabulary."""
    known = {value for value in vars(names).values() if isinstance(value, str)}
    ours = {name for name in advice.ADVICE if "/" not in name and name != advice.SCHEDULES}
    assert ours <= known
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
