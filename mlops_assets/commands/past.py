"""What happened to an experiment, for the report: what changed and why, tickets, how the model was
made. Reads only."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mlops_assets.commands.asked import Asked, live_version

if TYPE_CHECKING:
    import dagster as dg  # noqa: TID251

    from mlops_assets.deployment.history import Deployment
    from mlops_assets.gateways.registered import RegistryVersion
    from mlops_assets.monitoring.report.record import Section, State, Table

MOST = 25
"""Rows of a table."""
_DECIDED = {"promoted": "promoted", "waiting": "held back", "refused": "refused"}
_ENDED = {"SUCCESS": "succeeded", "FAILURE": "failed", "CANCELED": "was ended"}


def changes(
    asked: Asked,
    live: "tuple[Deployment, ...]",
    versions: "list[RegistryVersion]",
    refused: str,
) -> "Section":
    """Trainings, decisions and deployments lately, with their reasons; the newest first."""
    from mlops_assets.gateways.decisions import Decision
    from mlops_assets.monitoring.report.record import Section, Table
    from mlops_assets.monitoring.report.sections import moment

    found = [
        (
            one.since,
            f"version {one.version} went live on {one.target}",
            one.reason,
            one.decided,
        )
        for one in live
    ]
    found += [
        (one.until, f"version {one.version} was stopped on {one.target}", "", one.stopped_by)
        for one in live
        if one.stopped_by
    ]
    for version in versions:
        decision = Decision.of(version.tags)
        if decision is not None and decision.at:
            what = f"version {version.version} was {_DECIDED[decision.outcome]}"
            found.append((decision.at, what, decision.reason, decision.by))
    found += _trainings(asked)
    since = asked.since
    lately = [one for one in found if datetime.fromisoformat(one[0]) >= since]
    lately.sort(key=lambda one: datetime.fromisoformat(one[0]), reverse=True)
    days = (asked.now - since).days
    nothing = f"Nothing was trained, decided or deployed in the last {days} days."
    words = [] if lately else [nothing]
    words += [f"MLflow was not asked: {refused}"] if refused else []
    rows = tuple((moment(at), what, why, by) for at, what, why, by in lately[:MOST])
    left = len(lately) - len(rows)
    words += [f"{left} more: mlops history {asked.experiment.name}"] if left else []
    tables = (Table(("when", "what", "why", "by"), rows),) if rows else ()
    return Section("What changed", "unknown", "", tuple(words), (), tables)


def _trainings(asked: Asked) -> list[tuple[str, str, str, str]]:
    import dagster as dg  # noqa: TID251

    from mlops_assets import vocabulary as names

    if asked.instance is None:
        return []
    wanted = dg.RunsFilter(
        job_name=names.retrain_job(asked.experiment.name), created_after=asked.since
    )
    found = []
    for record in asked.instance.get_run_records(wanted, limit=MOST):
        run = record.dagster_run
        at = record.create_timestamp.astimezone(UTC).isoformat(timespec="seconds")
        part = " (data only)" if run.tags.get(names.RETRAINING_TAG) == "data" else ""
        ended = _ENDED.get(run.status.value, "is under way")
        why = run.tags.get(names.BECAUSE_TAG, "")
        found.append((at, f"training{part} {ended}", why, names.reason_of(run.tags)))
    return found


def tickets(asked: Asked) -> "tuple[int, Section]":
    """How many are open; those, and what was closed lately."""
    from mlops_assets.commands.tickets import LATE_SECONDS, held_in
    from mlops_assets.monitoring.report.record import Section, Table
    from mlops_assets.monitoring.report.sections import moment, span

    if asked.instance is None:
        return 0, Section("Tickets", "unknown", "none ever", ("Nothing was ever run.",))
    now = asked.now.timestamp()
    held, looked = held_in(asked.settings, asked.instance, (asked.experiment,), now=now)
    shown = [one for one in held if one.ticket]
    rows = tuple(
        (one.ticket, one.severity, one.cause, moment(one.since), one.words, one.action)
        for one in shown
    )
    heads = ("ticket", "severity", "cause", "since", "what", "next")
    tables = (*((Table(heads, rows),) if rows else ()), *_closed(asked, asked.instance))
    if not looked:
        said = "The sensor that keeps tickets has never looked: it does while the daemon runs."
        return len(shown), Section("Tickets", "unknown", "not kept", (said,), (), tables)
    words = [] if tables else ["No ticket is open, and none was closed lately."]
    if now - looked > LATE_SECONDS:
        ago = span(timedelta(seconds=now - looked))
        words.append(f"The sensor that keeps them looked {ago} ago: is the daemon running?")
    grave = any(one.severity in ("error", "critical") for one in shown)
    state: State = "bad" if grave else "warning" if shown else "good"
    brief = f"{len(shown)} open" if shown else "none open"
    return len(shown), Section("Tickets", state, brief, tuple(words), (), tables)


def _closed(asked: Asked, instance: "dg.DagsterInstance") -> "tuple[Table, ...]":
    """Tickets that were closed lately, the newest first."""
    from mlops_assets.monitoring.report.record import Table
    from mlops_assets.monitoring.report.sections import moment
    from mlops_assets.monitoring.tickets.findings import moment as iso
    from mlops_assets.monitoring.tickets.shelf import Shelf

    name, since = asked.experiment.name, asked.since.timestamp()
    _, books, _ = Shelf(instance.daemon_cursor_storage).read([name])
    closed = [one for one in books[name].tickets.values() if one.closed >= since]
    rows = tuple(
        (
            f"{name}#{one.number}",
            one.finding.cause,
            moment(iso(one.opened)),
            moment(iso(one.closed)),
            one.finding.words,
        )
        for one in sorted(closed, key=lambda one: -one.closed)[:MOST]
    )
    heads = ("ticket", "cause", "opened", "closed", "what")
    return (Table(heads, rows, "Closed lately"),) if rows else ()


def model(asked: Asked, versions: "list[RegistryVersion]", refused: str) -> "Section":
    """The model card's facts: data, training, and quality on held-out rows."""
    from mlops_assets.gateways.registered import Origin, held_out
    from mlops_assets.monitoring.report.record import Section, Table
    from mlops_assets.monitoring.report.sections import moment

    number = live_version(asked)
    found = next((one for one in versions if one.version == number), None)
    if found is None:
        said = f"MLflow was not asked: {refused}" if refused else "No version is registered yet."
        return Section("The model", "unknown", "", (said,))
    origin, spec = Origin.of(found.tags), asked.experiment
    created = datetime.fromtimestamp(found.created_ms / 1000, UTC).isoformat(timespec="seconds")
    rows = "" if origin.training_rows is None else f"{origin.training_rows:,}"
    facts = [
        ("version", f"{found.name} {found.version}, registered {moment(created)}"),
        ("predicts", f"{spec.features.target} ({spec.task.replace('_', ' ')})"),
        ("estimator", spec.training.estimator),
        ("training rows", rows),
        ("training set", origin.data_digest[:12]),
        ("snapshot of the source", origin.snapshot_digest[:12]),
        ("code", origin.code_version[:12]),
        ("made by", found.tags.get("mlops.author", "")),
    ]
    metrics = tuple(
        (name, f"{m.value:.4g}", f"{m.low:.4g} to {m.high:.4g}")
        for name, m in sorted(held_out(found.tags).items(), key=lambda kv: kv[0] != spec.metric)
    )
    tables: list[Table] = [Table(("", ""), tuple(fact for fact in facts if fact[1]))]
    if metrics:
        title = "On held-out rows, before it was registered"
        tables.append(Table(("metric", "value", "95% interval"), metrics, title))
    return Section("The model", "unknown", "", (), (), tuple(tables))
