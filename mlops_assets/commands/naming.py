"""What a person may call an asset, a column, or the data of a source. Knows no store."""

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mlops_assets.experiment.model import Experiment
    from mlops_assets.features.sources.base import SourceContext

RAW, TYPED, SPLIT = "source", "features", "training_set"
WITH_COLUMNS = (RAW, TYPED, SPLIT)
AssetsOf = Callable[[str], tuple[str, ...]]
"""The assets of an experiment by its name, in the order of the data."""


@dataclass(frozen=True)
class Data:
    """What the source of an experiment reads."""

    experiment: "Experiment"
    reads: tuple[str, ...]
    """Files, tables or datasets: equal for experiments that read the same."""
    called: tuple[str, ...]
    """What else they are called."""


@dataclass(frozen=True)
class Begin:
    """Where lineage begins in one experiment."""

    data: Data
    asset: str
    """Its key, for instance `churn/features`."""
    same_source: tuple[str, ...]
    """Other experiments that read one of the same files or tables."""


@dataclass(frozen=True)
class Asked:
    """What was asked about."""

    begins: tuple[Begin, ...]
    column: str | None


def data_of(experiment: "Experiment", context: "SourceContext") -> Data:
    """What an experiment's source reads, without a look at it.

    Args:
        experiment: whose source.
        context: of any experiment; paths start at this one's YAML.
    """
    from mlops_assets.features.sources.base import SourceError

    source = experiment.features.source
    try:
        reads = source.reads(replace(context, directory=experiment.path.parent))
    except SourceError:
        # A variable holds no URL: then only the names in the YAML are known.
        reads = ()
    return Data(experiment, reads, source.called())


def resolve(asked: str, every: tuple[Data, ...], assets: AssetsOf) -> Asked:
    """The experiments, assets and column that a person means.

    Args:
        asked: `EXPERIMENT`, `EXPERIMENT/ASSET`, or a file, table or dataset of a source; each with
            `:COLUMN` where it has columns.
        every: what each experiment reads.
        assets: of an experiment.

    Raises:
        ClickException: it is none of these, with what there is.
    """
    for name, column in _divided(asked):
        if begins := _begins(name, every, assets):
            if column is not None:
                _refuse_without_columns(begins[0].asset)
            return Asked(begins, column)
    raise click.ClickException(_unknown(asked, every, assets))


def near(asked: str, known: tuple[str, ...]) -> str:
    """`did you mean 'plan'? `, or nothing."""
    found = difflib.get_close_matches(asked, known, n=1)
    return f"did you mean {found[0]!r}? " if found else ""


def _divided(asked: str) -> Iterator[tuple[str, str | None]]:
    """Every way to read it as name and column: both may hold colons."""
    yield asked, None
    for position in reversed([at for at, sign in enumerate(asked) if sign == ":"]):
        if asked[:position] and asked[position + 1 :]:
            yield asked[:position], asked[position + 1 :]


def _begins(name: str, every: tuple[Data, ...], assets: AssetsOf) -> tuple[Begin, ...]:
    for one in every:
        own = one.experiment.name
        asset = f"{own}/{RAW}" if name == own else name
        if asset.partition("/")[0] == own and asset in assets(one.experiment.name):
            begin = Begin(one, asset, _sharing(one, every))
            if asset != f"{own}/{RAW}":
                return (begin,)
            others = [o for o in every if o.experiment.name in begin.same_source]
            return (begin, *(_at_source(other, every) for other in others))
    return tuple(_at_source(one, every) for one in every if _names(one, name))


def _at_source(one: Data, every: tuple[Data, ...]) -> Begin:
    return Begin(one, f"{one.experiment.name}/{RAW}", _sharing(one, every))


def _sharing(one: Data, every: tuple[Data, ...]) -> tuple[str, ...]:
    return tuple(
        other.experiment.name
        for other in every
        if other is not one and set(other.reads) & set(one.reads)
    )


def _names(one: Data, name: str) -> bool:
    """Whether a person who says this means its data: also a path from where they stand, or a file
    in the folder that it reads."""
    if name in (*one.reads, *one.called):
        return True
    path = Path(name).expanduser().resolve()
    folders = (path, *path.parents) if path.exists() else (path,)
    return any(str(folder) in one.reads for folder in folders)


def _refuse_without_columns(asset: str) -> None:
    if asset.rpartition("/")[2] not in WITH_COLUMNS:
        raise click.ClickException(
            f"{asset} has no columns to ask about; these have: {', '.join(WITH_COLUMNS)}"
        )


def _unknown(asked: str, every: tuple[Data, ...], assets: AssetsOf) -> str:
    name = asked.partition(":")[0]
    for one in every:
        if one.experiment.name == name.partition("/")[0]:
            own = assets(one.experiment.name)
            return f"there is no asset {name!r}: {near(name, own)}it is one of {', '.join(own)}"
    experiments = tuple(one.experiment.name for one in every)
    sources = tuple(dict.fromkeys(n for one in every for n in (*one.called, *one.reads)))
    return (
        f"{asked!r} is no experiment, asset or source: {near(name, (*experiments, *sources))}"
        f"experiments are {', '.join(experiments)}, each with assets such as "
        f"{experiments[0]}/{TYPED}; sources read {', '.join(sources) or 'nothing with a name'}"
    )
