"""What retention found and did, as a record on the data store, a table and a sentence. Pure, but
for reading and writing the record."""

from dataclasses import dataclass, replace
from datetime import datetime

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways import record_json
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.registry.removal import Plan
from mlops_assets.registry.retention import Verdict

MOST = 500
"""Rows of the table; those that go come first."""


@dataclass(frozen=True)
class Report:
    """What goes of an experiment's past, and what stays and why."""

    experiment: str
    run: str
    """Of Dagster."""
    at: str
    """ISO 8601, UTC."""
    applied: bool
    """Whether it went; a dry run says only what would."""
    versions: tuple[Verdict, ...]
    runs: int
    """MLflow runs with their models and bundles."""
    trials: int
    """MLflow runs of trials."""
    studies: tuple[str, ...]
    files: int
    """On the data store."""
    images: int
    """Container images of versions."""
    bytes: int
    """Of these files and images."""
    left: tuple[str, ...]
    """What could not go, and why."""


def of(experiment: Experiment, plan: Plan, *, run: str, now: datetime) -> Report:
    """The report of a plan that nothing was done about yet."""
    return Report(
        experiment=experiment.name,
        run=run,
        at=now.isoformat(timespec="seconds"),
        applied=False,
        versions=plan.verdicts,
        runs=len(plan.runs),
        trials=sum(map(len, plan.trials.values())),
        studies=plan.studies,
        files=len(plan.files),
        images=len(plan.images),
        bytes=plan.size,
        left=(),
    )


def applied(report: Report, left: tuple[str, ...]) -> Report:
    return replace(report, applied=True, left=left)


def write(store: DataStore, report: Report) -> None:
    store.write_bytes(_path(report.experiment), record_json.to_json(report).encode())


def read(store: DataStore, experiment: str) -> Report | None:
    """The newest report; None before the first.

    Raises:
        DataStoreError: the store does not answer.
        ValueError: it was written by another version of this program.
    """
    path = _path(experiment)
    if not store.exists(path):
        return None
    return record_json.from_json(Report, store.read_bytes(store.at(path)).decode())


def in_words(report: Report) -> str:
    """What goes, in a sentence."""
    gone = [one for one in report.versions if not one.kept]
    counts = (
        f"{len(gone)} of {len(report.versions)} versions, {report.runs} runs, "
        f"{report.trials} trials, {len(report.studies)} studies, {report.files} files and "
        f"{report.images} images ({report.bytes / 1e6:.1f} MB)"
    )
    said = f"{counts} {'removed' if report.applied else 'would be removed'}"
    return "; ".join([said, *report.left])


def table(report: Report) -> str:
    """Markdown: every version, what happens to it and why; the ones that go first."""
    rows = sorted(report.versions, key=lambda one: (one.kept, -one.version))
    went = "removed" if report.applied else "would go"
    lines = ["| version | | why |", "| --- | --- | --- |"]
    lines += [
        f"| {one.version} | {'kept' if one.kept else went} | {one.reason} |" for one in rows[:MOST]
    ]
    if len(rows) > MOST:
        lines.append(f"| {len(rows) - MOST} more | | |")
    return "\n".join(lines)


def _path(experiment: str) -> str:
    return f"{experiment}/retention/latest.json"
