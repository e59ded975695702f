"""What Dagster's stores say of retrainings, asked for many experiments at once: the number of calls
does not grow with that of experiments."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.training import staleness
from mlops_assets.training.retraining.assets import TRAINED, checks_of, known, retrain_of, stages
from mlops_assets.training.retraining.brakes import Data, Outcome, Past, Retraining
from mlops_assets.training.retraining.cases import Case, Trigger
from mlops_assets.training.retraining.course import Awaited, Facts
from mlops_assets.training.retraining.triggers import Evaluation

REMEMBERED = timedelta(days=30)
RUN_KEY = "dagster/run_key"
OUTCOMES: dict[dg.DagsterRunStatus, Outcome] = {
    dg.DagsterRunStatus.SUCCESS: "version",
    dg.DagsterRunStatus.FAILURE: "failed",
    dg.DagsterRunStatus.CANCELED: "canceled",
}
Materialized = Mapping[str, dg.EventLogRecord]
"""The last materialization of each asset of an experiment, by the asset's name."""


class Happened:
    """What happened so far."""

    def __init__(self, instance: dg.DagsterInstance, assets: Mapping[str, Sequence[Any]]) -> None:
        """
        Args:
            instance: whose stores are asked.
            assets: of each experiment, by its name, in the order of the graph.
        """
        self._instance = instance
        self._assets = assets

    def evaluations(
        self, experiments: Iterable[Experiment]
    ) -> tuple[dict[str, list[Evaluation]], dict[str, float]]:
        """By experiment: what its checks said last, and, of those with a failing check, when the
        newest version was registered, in seconds since 1970."""
        triggers = {key: t for each in experiments for key, t in checks_of(each).items()}
        store = self._instance.event_log_storage
        found: dict[str, list[Evaluation]] = {}
        for key, record in store.get_latest_asset_check_execution_by_key([*triggers]).items():
            evaluation = _evaluation(key, triggers[key], record)
            if evaluation is not None:
                found.setdefault(key.asset_key.path[0], []).append(evaluation)
        failing = [name for name, said in found.items() if not all(each.passed for each in said)]
        records = self.materialized(failing, (names.REGISTERED_VERSION,))
        registered = {
            name: made[names.REGISTERED_VERSION].timestamp for name, made in records.items() if made
        }
        return found, registered

    def facts(
        self, experiments: Mapping[str, Experiment], cases: Mapping[str, Case]
    ) -> dict[str, Facts]:
        """What is known of each experiment whose case is open."""
        if not experiments:
            return {}
        runs = self._runs(experiments)
        busy = self._busy(experiments)
        made = self.materialized(experiments, TRAINED)
        keyed = {run.dagster_run.tags.get(RUN_KEY): run for run in runs}
        awaited = {name: _awaited(keyed.get(cases[name].key)) for name in experiments}
        refreshed = [
            name
            for name, run in awaited.items()
            if cases[name].part == "data" and run is not None and run.state == "succeeded"
        ]
        data = self.data({name: experiments[name] for name in refreshed}, made)
        return {
            name: Facts(
                spec=retrain_of(each),
                recipe=each.recipe(),
                past=_past(name, runs, made[name], busy.get(name, "")),
                awaited=awaited[name],
                data=data.get(name),
            )
            for name, each in experiments.items()
        }

    def data(
        self, experiments: Mapping[str, Experiment], made: Mapping[str, Materialized]
    ) -> dict[str, Data]:
        """The training set of each experiment that has one, beside the model that is there."""
        digests = {
            name: _tags(made[name][names.TRAINING_SET])[staleness.DATA]
            for name in experiments
            if names.TRAINING_SET in made[name]
        }
        candidates = {
            names.candidate(experiments[name], digest): name for name, digest in digests.items()
        }
        tried = self._tried(candidates)
        found = {}
        for name, digest in digests.items():
            tags = {part: _tags(record) for part, record in made[name].items()}
            asked = stages(self._assets[name])
            verdicts = staleness.judge(known(each, tags.get(each.name, {})) for each in asked)
            version = tags.get(names.REGISTERED_VERSION, {}).get(names.VERSION_TAG)
            found[name] = Data(
                digest=digest,
                labels=_number(made[name], names.TRAINING_SET, "training_rows", "held_out_rows"),
                stale={each.name: each.why for each in verdicts if each.stale},
                version=int(version) if version else None,
                labels_before=_number(made[name], names.TRAINED_MODEL, "labelled_rows") or None,
                tried=tried.get(name, ""),
            )
        return found

    def _runs(self, experiments: Iterable[str]) -> Sequence[dg.RunRecord]:
        """Those that the sensor started in the last thirty days, the newest first."""
        tags = {names.EXPERIMENT_TAG: [*experiments], names.RETRAINING_TAG: ["data", "model"]}
        after = datetime.now(UTC) - REMEMBERED
        return self._instance.get_run_records(dg.RunsFilter(tags=tags, created_after=after))

    def _busy(self, experiments: Iterable[str]) -> dict[str, str]:
        """By experiment, a run that makes anything of what its retraining makes."""
        jobs = {names.retrain_job(name): name for name in experiments}
        found = {}
        for run in self._instance.get_runs(dg.RunsFilter(statuses=[*names.UNFINISHED])):
            if run.job_name in jobs:
                found[jobs[run.job_name]] = run.run_id
            for key in run.asset_selection or ():
                if key.path[-1] in TRAINED:
                    found[key.path[0]] = run.run_id
        return found

    def materialized(
        self, experiments: Iterable[str], parts: Sequence[str]
    ) -> dict[str, dict[str, dg.EventLogRecord]]:
        """The last materializations, by experiment and the asset's name."""
        found: dict[str, dict[str, dg.EventLogRecord]] = {name: {} for name in experiments}
        keys = [names.asset_key(name, part) for name in found for part in parts]
        for record in self._instance.get_asset_records(keys) if keys else ():
            experiment, part = record.asset_entry.asset_key.path
            if (last := record.asset_entry.last_materialization_record) is not None:
                found[experiment][part] = last
        return found

    def _tried(self, candidates: Mapping[str, str]) -> dict[str, str]:
        """How those candidates ended that were judged before, by experiment, in words.

        Args:
            candidates: experiments, by the name of the candidate.
        """
        found: dict[str, str] = {}
        tags = {names.CANDIDATE_TAG: [*candidates]}
        records = self._instance.get_run_records(dg.RunsFilter(tags=tags)) if candidates else ()
        for record in records:
            run = record.dagster_run
            name = candidates[run.tags[names.CANDIDATE_TAG]]
            if name not in found and run.is_finished and (ended := self._ended(run.run_id)):
                day = record.create_timestamp.date().isoformat()
                found[name] = f"tried by run {run.run_id} of {day}, which {ended}"
        return found

    def _ended(self, run_id: str) -> str:
        """What became of the model of a run, in words; empty where it was not judged."""
        wanted = {
            dg.DagsterEventType.ASSET_CHECK_EVALUATION,
            dg.DagsterEventType.ASSET_MATERIALIZATION,
            dg.DagsterEventType.STEP_FAILURE,
        }
        refused, registered = [], False
        for entry in self._instance.all_logs(run_id, of_type=wanted):
            event: Any = entry.get_dagster_event()
            data = event.event_specific_data
            if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
                registered |= event.asset_key.path[-1] == names.REGISTERED_VERSION
            elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                if data.blocking and not data.passed:
                    refused.append(data.check_name)
            elif str(event.step_key).endswith(f"__{names.REGISTERED_VERSION}"):
                refused.append("the gates")
        if registered:
            return "registered a version"
        return f"was refused by {', '.join(refused)}" if refused else ""


def _evaluation(key: dg.AssetCheckKey, trigger: Trigger, record: Any) -> Evaluation | None:
    """None while it is being evaluated."""
    said = record.event.asset_check_evaluation if record.event is not None else None
    if said is None:
        return None
    version = said.metadata.get("version")
    # The record's own time is in whole seconds.
    happened = record.event.timestamp
    at = datetime.fromtimestamp(happened, UTC).isoformat(timespec="minutes")
    return Evaluation(
        check=key.name,
        trigger=trigger,
        passed=said.passed,
        at=happened,
        version="" if version is None else str(version.value),
        words=f"{key.name} failed at {at}: {said.description or 'without a reason'}",
    )


def _awaited(record: dg.RunRecord | None) -> Awaited | None:
    if record is None:
        return None
    run = record.dagster_run
    if not run.is_finished:
        return Awaited(run.run_id, "unfinished")
    return Awaited(run.run_id, "succeeded" if run.is_success else "failed")


def _past(name: str, runs: Iterable[dg.RunRecord], made: Materialized, busy: str) -> Past:
    wanted = {names.EXPERIMENT_TAG: name, names.RETRAINING_TAG: "model"}.items()
    ours = [each for each in runs if wanted <= each.dagster_run.tags.items()]
    ids = {each.dagster_run.run_id for each in ours}
    others = [
        made[part].timestamp
        for part in (names.TRAINED_MODEL, names.REGISTERED_VERSION)
        if part in made and made[part].run_id not in ids
    ]
    return Past(
        retrainings=tuple(map(_retraining, ours)),
        by_hand=datetime.fromtimestamp(max(others), UTC) if others else None,
        busy=busy,
    )


def _retraining(record: dg.RunRecord) -> Retraining:
    run, ended = record.dagster_run, None
    if run.is_finished:
        at = record.end_time or record.update_timestamp.timestamp()
        ended = datetime.fromtimestamp(at, UTC)
    return Retraining(
        run_id=run.run_id,
        started=record.create_timestamp,
        ended=ended,
        outcome=OUTCOMES.get(run.status, "unfinished"),
        recipe=run.tags.get(names.CANDIDATE_TAG, "").rpartition(":")[2],
    )


def _tags(record: dg.EventLogRecord) -> Mapping[str, str]:
    made = record.asset_materialization
    return (made.tags if made is not None else None) or {}


def _number(made: Materialized, part: str, *keys: str) -> int:
    """The sum of whole numbers in the metadata of an asset; what is not there counts nothing."""
    said = made[part].asset_materialization if part in made else None
    metadata = said.metadata if said is not None else {}
    return sum(int(str(metadata[key].value)) for key in keys if key in metadata)
