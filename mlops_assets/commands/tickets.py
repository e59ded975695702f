"""`mlops tickets`: what is wrong, since when, and who has been told."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from mlops_assets.commands.console import table

if TYPE_CHECKING:
    import dagster as dg  # noqa: TID251

    from mlops_assets.experiment.model import Experiment
    from mlops_assets.monitoring.tickets.book import Book
    from mlops_assets.monitoring.tickets.findings import Finding, Severity
    from mlops_assets.monitoring.tickets.muting import Mutes
    from mlops_assets.settings import Settings

LATE_SECONDS = 300
"""After which a look of the sensor is said to be too long ago."""


@dataclass(frozen=True)
class Held:
    """A cause that holds, as people read it."""

    experiment: str
    ticket: str
    """Empty where there is none: it is muted, or follows from another cause."""
    cause: str
    severity: "Severity"
    since: str
    """ISO 8601, UTC."""
    words: str
    value: str
    threshold: str
    action: str
    runbook: str
    link: str
    note: str
    """Why there is no ticket, or which sinks were not told yet."""


@click.command()
@click.argument("experiment", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print them as one JSON object.")
def tickets(experiment: str | None, *, as_json: bool) -> None:
    """List the open tickets of every experiment, or of EXPERIMENT, with the next action of each.

    `all` are those that concern every experiment. The sensor `tickets` keeps them while the daemon
    runs.
    """
    from mlops_assets import settings
    from mlops_assets.commands.choice import choose
    from mlops_assets.experiment import loader

    current = settings.load()
    try:
        every = loader.load_all(current.configs)
    except loader.ExperimentError as error:
        raise click.ClickException("\n".join(error.problems)) from error
    if experiment not in (None, "all"):
        every = (choose(current, experiment),)
    now = datetime.now(UTC).timestamp()
    found, looked = held(current, every if experiment != "all" else (), now=now)
    if as_json:
        content = {"looked": looked, "held": [vars(each) for each in found]}
        click.echo(json.dumps(content, indent=2))
        return
    click.echo("\n".join([*map(_render, found), *_standing(found, looked, now)]))


def held(
    settings: "Settings", experiments: "tuple[Experiment, ...]", *, now: float
) -> tuple[list[Held], float]:
    """What holds of these experiments and of the platform, the worst first; and when the sensor
    looked last, in seconds since 1970 (0: never)."""
    from mlops_assets.commands.instance import existing_instance
    from mlops_assets.monitoring.tickets.shelf import PLATFORM

    instance = existing_instance(settings)
    if instance is None:
        return [], 0.0
    with instance:
        return held_in(settings, instance, experiments, now=now, besides=(PLATFORM,))


def held_in(
    settings: "Settings",
    instance: "dg.DagsterInstance",
    experiments: "tuple[Experiment, ...]",
    *,
    now: float,
    besides: tuple[str, ...] = (),
) -> tuple[list[Held], float]:
    """The same of an instance that is open; `besides` names what is no experiment."""
    from mlops_assets.monitoring.tickets.findings import weight
    from mlops_assets.monitoring.tickets.shelf import Shelf
    from mlops_assets.monitoring.tickets.spec import TicketsSpec

    specs = {each.name: each.monitoring.tickets for each in experiments}
    shelf = Shelf(instance.daemon_cursor_storage)
    desk, books, mutes = shelf.read([*besides, *specs])
    found = [
        _held(settings, name, book, finding, specs.get(name, TicketsSpec()), mutes[name], now)
        for name, book in books.items()
        for finding in book.findings.values()
    ]
    found.sort(key=lambda each: (-weight(each.severity), each.since))
    return found, desk.looked


def _held(
    settings: "Settings",
    experiment: str,
    book: "Book",
    finding: "Finding",
    spec: Any,
    mutes: "Mutes",
    now: float,
) -> Held:
    from mlops_assets.monitoring.tickets.advice import advice_of, chapter_of, root_of
    from mlops_assets.monitoring.tickets.findings import moment
    from mlops_assets.monitoring.tickets.muting import muted

    ticket = book.tickets.get(finding.cause)
    silent = muted(finding.cause, spec.mute, mutes, now)
    shown = Held(
        experiment=experiment,
        ticket="",
        cause=finding.cause,
        severity=finding.severity,
        since=moment(finding.since),
        words=finding.words,
        value=finding.value,
        threshold=finding.threshold,
        action=advice_of(finding.cause).action,
        runbook=f"{settings.runbook_url}#{chapter_of(finding.cause)}",
        link=f"{settings.dagster_url.rstrip('/')}{finding.page}",
        note=silent,
    )
    if ticket is None or not ticket.is_open:
        root = root_of(finding.cause, book.findings)
        why = f"follows from {root}" if root else "was found before what explained it recovered"
        return replace(shown, note=silent or why)
    waiting = {
        f"{each.sink} was not told yet: {each.error or 'it is its turn'}"
        for each in book.outbox
        if each.number == ticket.number
    }
    note = "; ".join([*filter(None, [silent]), *sorted(waiting)])
    return replace(shown, ticket=f"{experiment}#{ticket.number}", note=note)


def _render(one: Held) -> str:
    rows: list[tuple[str, str]] = [(one.severity, one.words)]
    if one.value or one.threshold:
        rows.append(("measured", f"{one.value or '?'}, allowed {one.threshold or '?'}"))
    rows += [("since", one.since), ("next", one.action), ("see", one.link), ("", one.runbook)]
    if one.note:
        rows.append(("note", one.note))
    head = f"{one.ticket or f'{one.experiment}, no ticket'}: {one.cause}"
    return f"{head}\n{table(rows, indent='  ')}\n"


def _standing(found: list[Held], looked: float, now: float) -> list[str]:
    """Whether the list can be trusted."""
    from mlops_assets.experiment.lengths import lasting
    from mlops_assets.monitoring.tickets.findings import moment

    if not looked:
        return ["No tickets: the sensor `tickets` has never looked. It does while the daemon runs."]
    open_ones = sum(bool(each.ticket) for each in found)
    ago = max(int(now - looked), 0)
    late = ", too long ago: is the daemon running?" if ago > LATE_SECONDS else ""
    return [f"{open_ones} open; looked {lasting(ago)} ago ({moment(looked)}){late}"]
