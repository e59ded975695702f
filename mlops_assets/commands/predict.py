"""`mlops predict`: asks the live endpoint, and shows how to ask it without us."""

import json
import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_assets.commands.console import shown, table

if TYPE_CHECKING:
    from mlops_assets.experiment.model import Experiment
    from mlops_assets.gateways.records import Endpoint
    from mlops_assets.settings import Settings

DIALECTS = ("dataframe_split", "dataframe_records", "inputs", "instances")
MOST = 1
"""Golden requests that are asked."""
WIDEST = 2000
"""Characters of a request that are shown."""


@dataclass(frozen=True)
class Question:
    """A body for `/invocations`."""

    content: bytes
    media: str
    file: Path | None = None
    """Where the body stands as it is sent."""
    probe: bool = False
    """Not counted as traffic by monitoring."""


@click.command()
@click.argument("experiment", required=False)
@click.option(
    "--input",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Rows to ask about: .json (one record, a list, or a body of /invocations) or .csv.",
)
@click.option("--json-record", help="One row as a JSON object.")
@click.option("--sample", type=click.IntRange(1, 1_000_000), help="Send N random held-out rows.")
@click.option(
    "--shift",
    multiple=True,
    metavar="COLUMN=FACTOR",
    help="With --sample: multiply a numeric column, or set another one. Repeatable.",
)
@click.option("--target", "kind", help="Which endpoint, when there are several.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer only, as it came.")
def predict(
    experiment: str | None,
    *,
    file: Path | None,
    json_record: str | None,
    sample: int | None,
    shift: tuple[str, ...],
    kind: str | None,
    as_json: bool,
) -> None:
    """Ask the live endpoint of EXPERIMENT; without rows, golden requests of the live version.

    Golden requests are marked as a probe, which monitoring does not count as traffic.
    """
    from mlops_assets import settings
    from mlops_assets.commands.choice import choose
    from mlops_assets.commands.live import live_endpoint

    if sum(option is not None for option in (file, json_record, sample)) > 1:
        raise click.UsageError("--input, --json-record and --sample exclude each other")
    if shift and sample is None:
        raise click.UsageError("--shift changes the rows of --sample N")
    current = settings.load()
    chosen = choose(current, experiment)
    endpoint = live_endpoint(current, chosen, kind)
    if sample is not None:
        _send_sample(current, chosen, endpoint, rows=sample, shift=shift, as_json=as_json)
        return
    question = _question(current, chosen, endpoint, file, json_record)
    _ask_once(current, chosen, endpoint, question=question, as_json=as_json)


def body_of(text: str, where: str) -> bytes:
    """The body for one record, a list of records, or a body in one of the known dialects.

    Raises:
        ClickException: it is not JSON, or none of these.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise click.ClickException(f"{where} is not JSON: {error}") from error
    if isinstance(content, dict) and len(content) == 1 and next(iter(content)) in DIALECTS:
        return json.dumps(content).encode()
    records = content if isinstance(content, list) else [content]
    if not records or not all(isinstance(record, dict) for record in records):
        raise click.ClickException(
            f"{where} holds neither an object, nor a list of objects, nor one of "
            f"{', '.join(DIALECTS)}"
        )
    return json.dumps({"dataframe_records": records}).encode()


def curl(url: str, question: Question, key_env: str | None = None) -> str:
    """The command that asks the same; the key is the shell's to fill in."""
    data = f"@{question.file}" if question.file else question.content.decode()
    headers = [f"content-type: {question.media}", *(["x-mlops-probe: 1"] if question.probe else [])]
    options = [f"-H {shlex.quote(header)}" for header in headers]
    if key_env is not None:
        options.append(f'-H "authorization: Bearer ${{{key_env}%%,*}}"')
    return f"curl -sS {url}/invocations {' '.join(options)} --data-binary {shlex.quote(data)}"


def answer_table(answer: dict[str, Any]) -> str:
    """One line per row: the prediction, and the probability of every class."""
    if "probabilities" not in answer:
        return table([("prediction",), *((shown(value),) for value in answer["predictions"])])
    head = ("prediction", *(f"P({label})" for label in answer["classes"]))
    rows = [
        (str(label), *(f"{p:.4f}" for p in probabilities))
        for label, probabilities in zip(answer["predictions"], answer["probabilities"], strict=True)
    ]
    return table([head, *rows])


def _question(
    settings: "Settings",
    experiment: "Experiment",
    endpoint: "Endpoint",
    file: Path | None,
    json_record: str | None,
) -> Question:
    from mlops_assets.commands import live

    if json_record is not None:
        return Question(body_of(json_record, "--json-record"), "application/json")
    if file is not None and file.suffix.lower() == ".csv":
        return Question(file.read_bytes(), "text/csv", file)
    if file is not None:
        text = file.read_text(encoding="utf-8")
        content = body_of(text, str(file))
        as_it_is = json.loads(text) == json.loads(content)
        return Question(content, "application/json", file if as_it_is else None)
    records = live.golden(settings, experiment, endpoint).records[:MOST]
    content = json.dumps({"dataframe_records": list(records)}).encode()
    return Question(content, "application/json", probe=True)


def _ask_once(
    settings: "Settings",
    experiment: "Experiment",
    endpoint: "Endpoint",
    *,
    question: Question,
    as_json: bool,
) -> None:
    from mlops_assets.commands import live
    from mlops_assets.serving.client import EndpointError

    with live.client(settings, experiment, endpoint) as client:
        try:
            answer = client.ask(question.content, media=question.media, probe=question.probe)
        except EndpointError as error:
            raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(answer.content, indent=2))
        return
    key_env = live.target_of(experiment, endpoint).key_env
    command = curl(endpoint.url, question, key_env)
    if len(command) > WIDEST:
        command = curl(endpoint.url, replace(question, file=Path("FILE")), key_env)
    click.echo(f"{endpoint.experiment} version {endpoint.version} at {endpoint.url}\n")
    click.echo(_shortened(_readable(question)))
    click.echo(f"\n{command}\n")
    click.echo(answer_table(answer.content))


def _send_sample(
    settings: "Settings",
    experiment: "Experiment",
    endpoint: "Endpoint",
    *,
    rows: int,
    shift: tuple[str, ...],
    as_json: bool,
) -> None:
    from mlops_assets.commands import console as consoles
    from mlops_assets.commands import live, traffic
    from mlops_assets.gateways.data_store import DataStoreError
    from mlops_assets.serving.client import EndpointError

    try:
        records = traffic.held_out(settings, experiment, rows)
    except DataStoreError as error:
        raise click.ClickException(str(error)) from error
    records = traffic.shifted(records, shift)

    with (
        live.client(settings, experiment, endpoint) as client,
        consoles.opened(to_stderr=True, log=None) as console,
    ):
        try:
            sent = traffic.send(
                records,
                client.predict,
                on_batch=lambda done: console.passing("sent", f"{done:,} of {rows:,}"),
            )
        except EndpointError as error:
            raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(asdict(sent), indent=2))
        return
    click.echo(
        f"{sent.rows:,} held-out rows in {sent.requests} requests, {sent.seconds:.1f} s, all "
        f"answered by version {sent.version} at {endpoint.url}"
    )
    if sent.predictions:
        counts = ", ".join(f"{label}: {n:,}" for label, n in sent.predictions.items())
        click.echo(f"predicted  {counts}; mean probability {sent.mean:.4f}")
    else:
        click.echo(f"predicted  {sent.mean:.4g} on average")
    click.echo(
        "Profiles reach the store within seconds. They are judged by a schedule while `make dev` "
        f"runs, or when {experiment.name}/serving_profile is materialized by hand in the UI."
    )


def _readable(question: Question) -> str:
    text = question.content.decode(errors="replace")
    return text if question.media == "text/csv" else json.dumps(json.loads(text), indent=2)


def _shortened(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[:WIDEST]}\n... ({len(text):,} characters)"
