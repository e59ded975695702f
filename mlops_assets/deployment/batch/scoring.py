"""Files of rows through a bundle, exactly as an endpoint would answer them, and resumable.

Beside each file of predictions stands a small one in `_scored/`, written last, that says what it
was made from: what was made from the same rows by the same version is not made again.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.deployment.batch.profiles import Profiles
from mlops_assets.deployment.batch.spec import BatchSpec
from mlops_assets.gateways.table_files import TableFile, TableFiles
from mlops_assets.serving.contents import label
from mlops_assets.serving.profile import Profile
from mlops_assets.serving.refusals import RequestError
from mlops_assets.serving.scorer import Scorer, Scores
from mlops_assets.serving.values import Form, Text

if TYPE_CHECKING:
    import pandas as pd

MARKS = "_scored"


class BatchError(Exception):
    """A file cannot be scored; the message names it, the row and the reason."""


@dataclass(frozen=True)
class Scored:
    """One file, and what it was made from."""

    input: str
    fingerprint: str
    """Of the input file."""
    version: int
    bundle_digest: str
    request: str
    """Fingerprint of the section of the YAML."""
    rows: int
    invalid: int
    """Rows without a prediction."""


@dataclass(frozen=True)
class Outcome:
    """What was done."""

    scored: tuple[Scored, ...]
    skipped: tuple[Scored, ...]
    """Made before, from the same rows by the same version."""

    @property
    def rows(self) -> int:
        return sum(one.rows for one in (*self.scored, *self.skipped))

    @property
    def invalid(self) -> int:
        return sum(one.invalid for one in (*self.scored, *self.skipped))


def score(
    bundle: Path,
    *,
    version: int,
    spec: BatchSpec,
    source: TableFiles,
    target: TableFiles,
    profiles: Profiles,
    tell: Callable[[str], None],
) -> Outcome:
    """Score every file of `source` that was not scored by this version yet.

    Args:
        bundle: of the model.
        version: its version.
        spec: what is asked for.
        source: the tables.
        target: where predictions go.
        profiles: where what was asked and answered is profiled.
        tell: of each file that is done.

    Raises:
        BatchError: a file cannot be scored, and those before it are kept; or two would be scored
            into one.
        BundleError: the bundle is not intact, or does not answer as in training.
        DataStoreError: a file cannot be read or written.
    """
    scorer = Scorer.open(bundle)
    scorer.self_test()
    scored, skipped = [], []
    files = source.found()
    _refuse_collisions(files)
    for number, file in enumerate(files, 1):
        wanted = (file.fingerprint, version, scorer.digest, spec.fingerprint())
        before = _mark_of(target, file)
        if before is not None and wanted == (
            before.fingerprint, before.version, before.bundle_digest, before.request
        ):  # fmt: skip
            skipped.append(before)
            continue
        window = profiles.window()
        profile = profiles.begin(scorer.manifest, window)
        done = _score_file(scorer, file, wanted, spec, source, target, profile)
        profiles.keep(profile, window, file=file, bundle_digest=scorer.digest)
        # Last: with it the file counts as scored.
        target.write_text(f"{MARKS}/{file.name}.json", json.dumps(asdict(done), sort_keys=True))
        scored.append(done)
        tell(f"{number} of {len(files)}: {file.name}, {done.rows:,} rows, {done.invalid:,} invalid")
    return Outcome(tuple(scored), tuple(skipped))


def _refuse_collisions(files: Iterable[TableFile]) -> None:
    """Two inputs must not write one output."""
    inputs: dict[str, TableFile] = {}
    for file in files:
        other = inputs.setdefault(_output(file), file)
        if other is not file:
            raise BatchError(
                f"{other.path} and {file.path} would both be scored into {_output(file)}; "
                "rename one"
            )


def _score_file(
    scorer: Scorer,
    file: TableFile,
    wanted: tuple[str, int, str, str],
    spec: BatchSpec,
    source: TableFiles,
    target: TableFiles,
    profile: Profile,
) -> Scored:
    fingerprint, version, digest, request = wanted
    rows = invalid = 0
    with target.writing(_output(file)) as write:
        for chunk in source.chunks(file, spec.chunk_rows):
            names = scorer.manifest.schema.names
            if missing := [name for name in names if name not in chunk.columns]:
                raise BatchError(f"{file.path}: the model needs a column {missing[0]!r}")
            values = _values(chunk, names, text=source.is_text(file))
            where = f"{file.path}, from row {rows}"
            answered, errors = _answers(scorer, values, where, spec, profile)
            write(_table(scorer, chunk, answered, errors, version, spec))
            rows += len(chunk)
            invalid += sum(error is not None for error in errors)
    return Scored(file.name, fingerprint, version, digest, request, rows, invalid)


def _values(chunk: "pd.DataFrame", names: Iterable[str], *, text: bool) -> dict[str, list[Any]]:
    """The cells as a request would hold them: in JSON, or in CSV."""
    if text:
        return {name: [Text(cell) for cell in chunk[name]] for name in names}
    return {
        name: chunk[name].astype(object).where(chunk[name].notna(), None).tolist() for name in names
    }


def _answers(
    scorer: Scorer, values: dict[str, list[Any]], where: str, spec: BatchSpec, profile: Profile
) -> tuple[list[Scores | None], list[str | None]]:
    """What the model says of each row, one by one only where the chunk as a whole is refused. Rows
    with an answer are added to the profile."""
    form = Form(scorer.manifest.schema, max_rows=spec.chunk_rows)
    rows = len(next(iter(values.values())))
    if rows == 0:
        return [], []

    def ask(asked: dict[str, list[Any]]) -> Scores:
        typed = form.typed(asked.__getitem__)
        said = scorer.score(typed)
        profile.track(typed, said)
        return said

    try:
        whole = ask(values)
    except (RequestError, ValueError) as error:
        if spec.on_invalid == "fail":
            raise BatchError(f"{where}: {error}") from error
    else:
        return _each(whole), [None] * rows
    found: list[Scores | None] = []
    errors: list[str | None] = []
    for row in range(rows):
        try:
            one = ask({name: [column[row]] for name, column in values.items()})
        except (RequestError, ValueError) as error:
            found.append(None)
            errors.append(str(error))
        else:
            found.append(one)
            errors.append(None)
    return found, errors


def _each(scores: Scores) -> list[Scores | None]:
    probabilities = scores.probabilities or [[]] * len(scores.predictions)
    return [
        Scores([prediction], [row] if row else [])
        for prediction, row in zip(scores.predictions, probabilities, strict=True)
    ]


def _table(
    scorer: Scorer,
    chunk: "pd.DataFrame",
    answered: list[Scores | None],
    errors: list[str | None],
    version: int,
    spec: BatchSpec,
) -> "pd.DataFrame":
    import pandas as pd

    manifest = scorer.manifest
    kept = list(chunk.columns) if spec.keep is None else [*spec.keep]
    if unknown := [name for name in kept if name not in chunk.columns]:
        raise BatchError(f"keep: the input has no column {unknown[0]!r}")
    regression = manifest.task == "regression"
    made: dict[str, Any] = {
        "prediction": pd.array(
            [None if a is None else _shown(a.predictions[0], regression) for a in answered],
            dtype="Float64" if regression else "string",
        )
    }
    for index, name in enumerate(manifest.classes):
        made[f"probability_{label(name)}"] = pd.array(
            [None if a is None else a.probabilities[0][index] for a in answered], dtype="Float64"
        )
    made["model_version"] = pd.array([version] * len(chunk), dtype="Int64")
    if spec.on_invalid == "mark":
        made["error"] = pd.array(errors, dtype="string")
    if taken := sorted(set(made) & set(kept)):
        raise BatchError(
            f"the input's column {taken[0]!r} bears the name of an output; leave it out with keep"
        )
    return chunk[kept].reset_index(drop=True).assign(**made)


def _shown(prediction: Any, regression: bool) -> Any:
    return float(prediction) if regression else label(prediction)


def _output(file: TableFile) -> str:
    return f"{file.name.rsplit('.', 1)[0]}.parquet"


def _mark_of(target: TableFiles, file: TableFile) -> Scored | None:
    text = target.read_text(f"{MARKS}/{file.name}.json")
    if text is None:
        return None
    try:
        return Scored(**json.loads(text))
    except (ValueError, TypeError):
        return None  # half written, or by another version of this program: made again
