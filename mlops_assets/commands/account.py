"""The report of an experiment: what monitoring says, and what the platform knows beside it. Reads
only."""

from typing import TYPE_CHECKING, Any

from mlops_assets.commands.asked import Asked, live_version, versions_of

if TYPE_CHECKING:
    from mlops_assets.monitoring.report.record import Report, Section, State

FAULTS = ("dead endpoint", "dead log", "late window")
"""Of freshness: that nobody asks is none."""


def report(asked: Asked, monitored: "tuple[Section, ...]", trouble: str) -> "Report":
    """The whole report.

    Args:
        asked: who knows the rest.
        monitored: the sections of monitoring.
        trouble: why these may know nothing; empty when there is no such reason.
    """
    from mlops_assets.commands import deployments, past
    from mlops_assets.monitoring.report import compose
    from mlops_assets.monitoring.report.record import Report
    from mlops_assets.monitoring.report.sections import moment

    live = deployments.history(asked.instance, asked.experiment)
    versions, refused = versions_of(asked)
    watched = (*monitored, endpoint(asked))
    opened, tickets_section = past.tickets(asked)
    judged = (*watched, tickets_section)
    at = asked.now.isoformat(timespec="seconds")
    return Report(
        experiment=asked.experiment.name,
        description=asked.experiment.description,
        owner=asked.experiment.owner,
        at=moment(at),
        state=compose.state(judged),
        headline=headline(asked, judged, trouble),
        facts=_facts(asked, opened),
        sections=(
            *watched,
            past.changes(asked, live, versions, refused),
            tickets_section,
            past.model(asked, versions, refused),
        ),
        places=_places(asked),
    )


def headline(asked: Asked, judged: "tuple[Section, ...]", trouble: str) -> str:
    """Whether it is well, and what is live, in a sentence or two."""
    from mlops_assets.monitoring.report.sections import moment, verdict_of

    name, endpoints = asked.experiment.name, asked.standing.endpoints
    live = [
        f"version {one['version']} on {one['target']} since {moment(one['since'])}"
        for one in endpoints
        if one["state"] == "live"
    ]
    said = f"Live: {', '.join(live)}." if live else "Nothing is live."
    if not live and all(one["version"] is None for one in endpoints):
        return f"{name} was never deployed."
    return " ".join(filter(None, [verdict_of(name, judged), said, trouble]))


def endpoint(asked: Asked) -> "Section":
    """Whether it answers, whether it is the champion, and whether its profiles arrive."""
    from mlops_assets import vocabulary as names
    from mlops_assets.monitoring.report.record import Section, Table
    from mlops_assets.monitoring.report.sections import moment

    wanted = (names.ANSWERS_PROBE, names.SERVES_THE_CHAMPION, names.PROFILE_IS_FRESH)
    checks = [check for check in asked.standing.checks if check.name in wanted]
    endpoints = asked.standing.endpoints
    down = [one for one in endpoints if one["state"] not in ("live", "never deployed")]
    failed = [check for check in checks if check.verdict == "failed"]
    state: State = "unknown"
    if down:
        first = down[0]
        brief = f"{first['state']} on {first['target']}"
        state = "bad"
    elif failed:
        quiet = all(
            check.name == names.PROFILE_IS_FRESH and not any(f in check.reason for f in FAULTS)
            for check in failed
        )
        brief = "nobody asks" if quiet else f"{failed[0].name} failed"
        state = "warning" if quiet else "bad"
    elif any(check.verdict == "passed" for check in checks):
        brief, state = "answers, and its profiles arrive", "good"
    else:
        brief = "not checked yet"
    words = tuple(
        f"{one['target']}: {one['state']}{': ' + one['detail'] if one['detail'] else ''}"
        for one in down
    )
    rows = tuple(
        (check.name, check.verdict, check.reason, moment(check.when) if check.when else "")
        for check in checks
    )
    tables = (Table(("check", "verdict", "why", "looked"), rows),) if rows else ()
    return Section("Endpoint and freshness", state, brief, words, (), tables)


def _facts(asked: Asked, opened: int) -> tuple[tuple[str, str], ...]:
    from mlops_assets.monitoring.report.sections import moment

    facts: list[tuple[str, str]] = [
        (
            f"On {one['target']}",
            f"version {one['version']}, {one['state']} since {moment(one['since'])}"
            if one["version"] is not None
            else f"{one['state']}",
        )
        for one in asked.standing.endpoints
    ]
    standing = asked.standing
    if standing.champion is not None:
        facts.append(("Champion", f"version {standing.champion}"))
    facts.append(("Open tickets", str(opened)))
    if standing.next_retraining:
        facts.append(("Next retraining", moment(standing.next_retraining)))
    facts += [("Running", f"{run.job} ({run.state})") for run in standing.running]
    return tuple(facts)


def _places(asked: Asked) -> tuple[tuple[str, str], ...]:
    """Addresses that others can open, and the commands."""
    from urllib.parse import urlsplit

    settings, name = asked.settings, asked.experiment.name
    number, page = live_version(asked), "?view=checks"
    model = asked.experiment.model_name + ("" if number is None else f"/versions/{number}")
    places: list[tuple[str, Any]] = [
        ("Dagster", f"{settings.dagster_url.rstrip('/')}/assets/{name}/serving_profile{page}"),
        ("MLflow", f"{settings.mlflow_url.rstrip('/')}/#/models/{model}"),
    ]
    shared = [
        place
        for place in places
        if urlsplit(place[1]).hostname not in ("127.0.0.1", "localhost", "::1")
    ]
    return (
        *shared,
        ("What to do", f"{settings.runbook_url}#monitoring"),
        ("On the machine", f"mlops status {name}; mlops tickets {name}; mlops history {name}"),
    )
