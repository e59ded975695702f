"""The metrics of the platform: names, labels, and how facts become samples. Pure.

Experiments, assets, checks and targets come from the YAMLs, so that nothing which traffic or people
write becomes a label. What is still too much is left out by whole experiments.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mlops_assets.monitoring.exporter.facts import Facts
from mlops_assets.monitoring.tickets.shelf import PLATFORM


@dataclass(frozen=True)
class Family:
    """One metric: a counter where its name ends in `_total`, else a gauge."""

    text: str
    labels: tuple[str, ...]


CHECK, ASSET = ("experiment", "asset", "check", "severity"), ("experiment", "asset")
TARGET, RUN = ("experiment", "target"), ("experiment", "job_name")

FAMILIES: Mapping[str, Family] = {
    "mlops_check_passed": Family("1 where the check's newest verdict is green, else 0.", CHECK),
    "mlops_check_evaluated_timestamp_seconds": Family("When it was evaluated.", CHECK),
    "mlops_check_value": Family("What it measured, where that is a number.", CHECK),
    "mlops_check_threshold": Family("What it allows, where that is a number.", CHECK),
    "mlops_asset_materialized_timestamp_seconds": Family("When the asset was made last.", ASSET),
    "mlops_asset_fresh_seconds": Family(
        "Age from which on its freshness policy calls it overdue.", ASSET
    ),
    "mlops_endpoint_expected": Family(
        "1 where the endpoint should answer, 0 once it was stopped by hand.", TARGET
    ),
    "mlops_endpoint_version": Family("The version that was deployed last.", TARGET),
    "mlops_endpoint_deployed_timestamp_seconds": Family("When it was deployed.", TARGET),
    "mlops_run_unfinished_since_timestamp_seconds": Family(
        "When the oldest run that has not ended was asked for.", RUN
    ),
    "mlops_runs_ended_last_day": Family(
        "Runs that ended in the last 24 hours.", (*RUN, "result")
    ),
    "mlops_run_ended_timestamp_seconds": Family(
        "When a run last ended so, in the last 24 hours.", (*RUN, "result")
    ),
    "mlops_tickets_open": Family("Open tickets.", ("experiment", "severity")),
    "mlops_tickets_looked_timestamp_seconds": Family(
        "When the sensor of tickets looked last; 0: never.", ()
    ),
}  # fmt: skip
"""Of the platform, by name."""

OWN: Mapping[str, Family] = {
    "mlops_platform_up": Family("1 where the last look at Dagster's storage succeeded.", ()),
    "mlops_platform_looked_timestamp_seconds": Family(
        "When a look last succeeded: of then is what is told.", ()
    ),
    "mlops_platform_look_seconds": Family("How long the last look took.", ()),
    "mlops_platform_look_errors_total": Family(
        "Looks that failed since the exporter started, by what could not be read.", ("part",)
    ),
    "mlops_platform_experiments": Family("Experiments in the YAMLs.", ()),
    "mlops_platform_experiments_left_out": Family(
        "Experiments that are not told, because there would be too many series.", ()
    ),
}
"""Of the exporter itself, by name."""


class Sample(NamedTuple):
    """One number."""

    name: str
    labels: tuple[str, ...]
    value: float


def samples(facts: Facts) -> Iterator[Sample]:
    """Every sample; the first label is the experiment, of those that have one."""
    labels: tuple[str, ...]
    for check in facts.checks:
        labels = (check.experiment, check.asset, check.check, check.severity)
        yield Sample("mlops_check_passed", labels, float(check.passed))
        yield Sample("mlops_check_evaluated_timestamp_seconds", labels, check.at)
        for name, number in (("value", check.value), ("threshold", check.threshold)):
            if number is not None:
                yield Sample(f"mlops_check_{name}", labels, number)
    for made in facts.assets:
        labels = (made.experiment, made.asset)
        yield Sample("mlops_asset_materialized_timestamp_seconds", labels, made.at)
        if made.fresh_s is not None:
            yield Sample("mlops_asset_fresh_seconds", labels, made.fresh_s)
    for one in facts.endpoints:
        labels = (one.experiment, one.target)
        yield Sample("mlops_endpoint_expected", labels, float(one.expected))
        yield Sample("mlops_endpoint_version", labels, float(one.version))
        yield Sample("mlops_endpoint_deployed_timestamp_seconds", labels, one.since)
    yield from _of_runs(facts)
    for (experiment, severity), count in facts.tickets.items():
        yield Sample("mlops_tickets_open", (experiment, severity), float(count))
    yield Sample("mlops_tickets_looked_timestamp_seconds", (), facts.tickets_looked)


def _of_runs(facts: Facts) -> Iterator[Sample]:
    for asked, since in facts.unfinished.items():
        yield Sample("mlops_run_unfinished_since_timestamp_seconds", asked, since)
    counts: dict[tuple[str, ...], int] = {}
    last: dict[tuple[str, ...], float] = {}
    labels: tuple[str, ...]
    for run in facts.ended:
        labels = (run.experiment, run.job, run.result)
        counts[labels] = counts.get(labels, 0) + 1
        last[labels] = max(last.get(labels, 0.0), run.at)
    for labels, count in counts.items():
        yield Sample("mlops_runs_ended_last_day", labels, float(count))
        yield Sample("mlops_run_ended_timestamp_seconds", labels, last[labels])


def bounded(
    told: Iterable[Sample], experiments: Sequence[str], *, most: int
) -> tuple[list[Sample], int]:
    """The samples of as many experiments as `most` series allow, and how many are left out.

    Args:
        told: of these experiments and of the platform, which is never left out.
        experiments: the last are left out first.
        most: series.
    """
    by_experiment: dict[str, list[Sample]] = {}
    for sample in told:
        by_experiment.setdefault(sample.labels[0] if sample.labels else PLATFORM, []).append(sample)
    kept = by_experiment.pop(PLATFORM, [])
    for place, name in enumerate(experiments):
        own = by_experiment.get(name, [])
        if len(kept) + len(own) > most:
            return kept, len(experiments) - place
        kept += own
    return kept, 0


def render(told: Iterable[Sample]) -> tuple[bytes, str]:
    """Samples as Prometheus text, and its content type."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    known = {**FAMILIES, **OWN}
    made: dict[str, Any] = {}
    for name, labels, value in told:
        if name not in made:
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            made[name] = kind(name, known[name].text, labels=known[name].labels)
        made[name].add_metric(labels, value)

    class Told:
        def collect(self) -> Iterable[Any]:
            return made.values()

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Told())  # type: ignore[arg-type]
    return generate_latest(registry), CONTENT_TYPE_LATEST
