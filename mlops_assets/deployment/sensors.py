"""Asks every endpoint whether it serves the champion, and has it deployed where that may be."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.deployment import at_once
from mlops_assets.deployment.breach import metadata_of
from mlops_assets.deployment.checks import judge
from mlops_assets.deployment.targets.base import Target, TargetContext
from mlops_assets.deployment.truth import Verdict, unknown
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.model_registry import ModelRegistry

INTERVAL_SECONDS = 60
MOST = 20
"""Endpoints asked in one tick; the next tick goes on behind them."""
PATIENCE = 20.0
"""Seconds for all of them together: Dagster ends a tick after 60."""
REPEATED_AFTER = timedelta(hours=1)
"""A verdict that did not change is told again, and a repair that did not help tried again."""


def build(
    experiments: Iterable[Experiment], deploy_jobs: Sequence[Any], *, patience: float = PATIENCE
) -> dg.Definitions:
    """One sensor for all endpoints.

    Args:
        experiments: whose endpoints are asked.
        deploy_jobs: the job `<experiment>__deploy` of each.
        patience: seconds, after which it cannot be found out what one that is silent serves.
    """
    endpoints = [
        (experiment, target)
        for experiment in experiments
        for target in experiment.deployment.targets
    ]
    if not endpoints:
        return dg.Definitions()
    asker = at_once.Asker[str]()

    @dg.sensor(
        name=names.TRUTH_SENSOR,
        jobs=list(deploy_jobs),
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Evaluates `{names.SERVES_THE_CHAMPION}` of up to {MOST} endpoints, in turn. "
        "Where it fails, starts `<experiment>__deploy` if the YAML says `deployment.repair`, or if "
        "a rollout was left unfinished by a run that is gone.",
    )
    def endpoint_strayed(
        context: dg.SensorEvaluationContext,
        data_store: dg.ResourceParam[DataStore],
        model_registry: dg.ResourceParam[ModelRegistry],
        target_context: dg.ResourceParam[TargetContext],
    ) -> dg.SensorResult:
        cursor = json.loads(context.cursor or "{}")
        first, told = cursor.get("next", 0) % len(endpoints), cursor.get("told", {})
        turn = [endpoints[(first + i) % len(endpoints)] for i in range(min(MOST, len(endpoints)))]
        now = target_context.now()
        events, requests, failing = [], {}, []
        under_way = names.deploying(context.instance)
        questions = {
            _name(experiment, target): partial(
                judge,
                experiment,
                target,
                deploying=experiment.name in under_way,
                registry=model_registry,
                store=data_store,
                context=target_context,
                stopped_at=names.stopped_at(context.instance, _key(experiment, target)),
            )
            for experiment, target in turn
        }
        verdicts = asker.answers(questions, patience=patience)
        for experiment, target in turn:
            name, deploying = _name(experiment, target), experiment.name in under_way
            verdict = verdicts.get(name) or unknown(at_once.late(patience))
            if not verdict.passed:
                failing.append(f"{name}: {verdict.reason}")
            if not _is_news(verdict, told.get(name), now):
                continue
            said = {"reason": verdict.reason, "at": now.isoformat()}
            repaired = told.get(name, {}).get("repaired")
            events.append(_evaluation(experiment, target, verdict))
            may = (experiment.deployment.repair and verdict.known) or verdict.abandoned
            # What was not known in between makes nothing new of the same.
            if not verdict.passed and not deploying and may and _is_news(verdict, repaired, now):
                requests[experiment.name] = _repair(experiment, verdict, now)
                repaired = said
            told[name] = {**said, "repaired": repaired}
        following = json.dumps({"next": (first + len(turn)) % len(endpoints), "told": told})
        return dg.SensorResult(
            run_requests=list(requests.values()) or None,
            skip_reason=None if requests else _seen(failing, len(turn)),
            asset_events=events,
            cursor=following,
        )

    return dg.Definitions(sensors=[endpoint_strayed])


def _name(experiment: Experiment, target: Target) -> str:
    return f"{experiment.name}/{kind_of(type(target))}"


def _key(experiment: Experiment, target: Target) -> dg.AssetKey:
    return names.endpoint_key(experiment.name, kind_of(type(target)))


def _is_news(verdict: Verdict, before: dict[str, str] | None, now: datetime) -> bool:
    if before is None or before["reason"] != verdict.reason:
        return True
    return now - datetime.fromisoformat(before["at"]) >= REPEATED_AFTER


def _evaluation(
    experiment: Experiment, target: Target, verdict: Verdict
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=_key(experiment, target),
        check_name=names.SERVES_THE_CHAMPION,
        passed=verdict.passed,
        description=verdict.reason,
        metadata=metadata_of(verdict.breach),
    )


def _repair(experiment: Experiment, verdict: Verdict, now: datetime) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{experiment.name} {now.isoformat()}",
        job_name=names.deploy_job(experiment.name),
        tags={names.EXPERIMENT_TAG: experiment.name},
        run_config=names.deploy_config(experiment, reason=f"repair: {verdict.reason}"),
    )


def _seen(failing: list[str], asked: int) -> str:
    return "; ".join(failing) or f"endpoints asked: {asked}; all serve their champion"
