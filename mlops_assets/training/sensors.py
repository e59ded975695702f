"""Trains again without being asked: one sensor for all experiments. What speaks for a retraining
and against it is decided in `retraining`; here Dagster is asked what happened."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.training.retraining import triggers
from mlops_assets.training.retraining.assets import REFRESHED, listens, retrain_of
from mlops_assets.training.retraining.cases import Case, Memory
from mlops_assets.training.retraining.course import Start, Step, step, turns
from mlops_assets.training.retraining.resources import Happened

INTERVAL_SECONDS = 30
MOST_CHECKED = 50
"""Experiments whose checks are read in one tick; the next tick goes on behind them. An evaluation
carries its pictures, and reading it takes a millisecond."""
MOST_TOLD = 20
"""Experiments about which one tick says why nothing is started."""


def build(
    experiments: Iterable[Experiment],
    jobs: Sequence[Any],
    assets: Mapping[str, Sequence[Any]],
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> dg.Definitions:
    """One sensor for all experiments: a tick with nothing new asks Dagster once.

    Args:
        experiments: those without `training.retrain` are left alone.
        jobs: `<experiment>__retrain` of each.
        assets: of each experiment, by its name, in the order of the graph.
        clock: aware.
    """
    watched = {each.name: each for each in experiments if each.training.retrain is not None}
    if not watched:
        return dg.Definitions()
    started = {names.retrain_job(name) for name in watched}

    @dg.sensor(
        name=names.RETRAINING_SENSOR,
        jobs=[job for job in jobs if job.name in started],
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Retrains what `training.retrain` of its YAML asks for: a first run of "
        "`<experiment>__retrain` refreshes the training set, a second one makes what is out of "
        "date. Says of every experiment it holds back or refuses which brake that was.",
    )
    def retraining_due(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        before, now = Memory.from_json(context.cursor), clock()
        happened = Happened(context.instance, assets)
        cases, turn = _asked(happened, watched, before, now)
        open_ones = {name: watched[name] for name, case in cases.items() if case.is_open}
        facts = happened.facts(open_ones, cases)
        steps = {name: step(name, cases[name], facts[name], now) for name in open_ones}
        starting = turns(steps, {n: retrain_of(each).priority for n, each in open_ones.items()})
        # A tick either starts or refuses, since only one that starts nothing may give reasons.
        # What is not taken now is decided again by the next tick: no refusal goes unsaid.
        taken = starting or _told(steps, cases)
        cases |= {name: steps[name].case for name in taken}
        following = Memory(now.isoformat(timespec="seconds"), turn, cases)
        return dg.SensorResult(
            run_requests=[_request(watched[n], steps[n], cases[n]) for n in starting],
            skip_reason=None if starting else _reason(steps, taken, len(watched)),
            cursor=following.to_json(),
        )

    return dg.Definitions(sensors=[retraining_due])


def _asked(
    happened: Happened, watched: Mapping[str, Experiment], before: Memory, now: datetime
) -> tuple[dict[str, Case], int]:
    """The cases after the clock and the checks, and where to go on reading checks."""
    since = datetime.fromisoformat(before.at) if before.at else now
    cases = {}
    for name, experiment in watched.items():
        case = before.cases.get(name, Case())
        cases[name] = triggers.by_the_clock(retrain_of(experiment), case, since=since, now=now)
    listening = [name for name, each in watched.items() if listens(retrain_of(each))]
    if not listening:
        return cases, 0
    first, count = before.turn % len(listening), min(MOST_CHECKED, len(listening))
    heard = [watched[listening[(first + i) % len(listening)]] for i in range(count)]
    evaluations, registered_at = happened.evaluations(heard)
    for each in heard:
        cases[each.name] = triggers.by_checks(
            retrain_of(each),
            cases[each.name],
            evaluations.get(each.name, ()),
            registered_at=registered_at.get(each.name, 0.0),
            now=now,
        )
    return cases, (first + count) % len(listening)


def _request(experiment: Experiment, taken: Step, case: Case) -> dg.RunRequest:
    start = taken.start
    assert start is not None  # noqa: S101
    tags = {
        names.EXPERIMENT_TAG: experiment.name,
        names.RETRAINING_TAG: start.part,
        names.BECAUSE_TAG: "; ".join(case.asked.values()),
        "dagster/priority": str(retrain_of(experiment).priority),
    }
    if start.part == "model":
        tags[names.CANDIDATE_TAG] = names.candidate(experiment, start.digest)
    return dg.RunRequest(
        run_key=start.key,
        job_name=names.retrain_job(experiment.name),
        asset_selection=[names.asset_key(experiment.name, part) for part in _parts(start)],
        tags=tags,
    )


def _parts(start: Start) -> tuple[str, ...]:
    return REFRESHED if start.part == "data" else start.assets


def _told(steps: Mapping[str, Step], cases: Mapping[str, Case]) -> list[str]:
    """The experiments whose turn it is to be told about: those whose case ends, then those that are
    held back since now, then those of which the same was said before."""

    def turn(name: str) -> tuple[bool, bool, str]:
        after = steps[name].case
        return after.is_open, after == cases[name], name

    return sorted(steps, key=turn)[:MOST_TOLD]


def _reason(steps: Mapping[str, Step], told: Sequence[str], watched: int) -> str:
    if not steps:
        return f"nothing asks for a retraining; experiments watched: {watched}"
    lines = [f"{name}: {steps[name].words}" for name in told]
    more = len(steps) - len(told)
    return "\n".join([*lines, *([f"and {more} more"] if more else [])])
