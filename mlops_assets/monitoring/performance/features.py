"""The features of logged rows, beside the rows that the version was trained and tested on."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.realised import LoggedRows
from mlops_assets.modeling.folds import RESERVED
from mlops_assets.monitoring.performance.logged import KEYS, ROW
from mlops_assets.serving.contents import PREDICTION

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Tables:
    """Rows of then and now, with the columns that both have."""

    reference: "pd.DataFrame"
    logged: "pd.DataFrame"


def tables(
    store: DataStore, experiment: str, log: LoggedRows, *, data_digest: str, most: int
) -> Tables | None:
    """The training set of the live version, and the newest rows that it answered, about `most` of
    them; None where nothing was logged, or the training set is gone.

    Args:
        store: where both are.
        experiment: whose.
        log: what was logged.
        data_digest: of the training set, as the version's tags say; may be empty.
        most: logged rows.
    """
    path = f"{experiment}/training_sets/{data_digest[:16]}.parquet"
    urls = [url for each in log.windows if each.version == log.version for url in each.urls]
    if not (urls and data_digest and store.exists(path)):
        return None
    reference = store.read_table(store.at(path))
    reference = reference.drop(columns=[name for name in RESERVED if name in reference])
    logged = _newest(store, urls, most)
    stored = {name: _stored(str(name), logged) for name in reference.columns}
    common = {name: place for name, place in stored.items() if place in logged.columns}
    if not common:
        return None
    now = logged[[*common.values()]].set_axis([*common], axis=1)
    return Tables(typed(reference[[*common]], reference), typed(now, reference))


def answered(
    store: DataStore, urls: Iterable[str], reference: "pd.DataFrame", *, most: int
) -> "pd.DataFrame | None":
    """Logged rows, each once, with the columns of `reference` that the log has, typed as these;
    None without any. Of more than `most` those whose ids have the smallest hashes."""
    import pandas as pd

    frame = pd.concat([store.read_table(url) for url in urls], ignore_index=True)
    frame = frame.drop_duplicates(ROW)
    if len(frame) > most:
        hashes = pd.util.hash_pandas_object(frame[ROW], index=False)
        frame = frame.loc[hashes.nsmallest(most).index]
    frame = frame.sort_values(ROW, kind="stable", ignore_index=True)
    stored = {
        str(name): PREDICTION if name == PREDICTION else _stored(str(name), frame)
        for name in reference.columns
    }
    common = {name: place for name, place in stored.items() if place in frame.columns}
    if not common:
        return None
    return typed(frame[[*common.values()]].set_axis([*common], axis=1), reference)


def _newest(store: DataStore, urls: list[str], most: int) -> "pd.DataFrame":
    """Files are read from the newest window on until there are enough rows."""
    import pandas as pd

    found, rows = [], 0
    for url in reversed(urls):
        found.append(store.read_table(url))
        rows += len(found[-1])
        if rows >= most:
            break
    return pd.concat(found, ignore_index=True).drop_duplicates(ROW)


def _stored(name: str, logged: "pd.DataFrame") -> str:
    """The log's name of a feature, where its own columns have some of the names."""
    columns = [str(column) for column in logged.columns]
    taken = {*KEYS, "version", *columns[columns.index(PREDICTION) :]}
    while name in taken:
        name = f"feature_{name}"
    return name


def typed(rows: "pd.DataFrame", reference: "pd.DataFrame") -> "pd.DataFrame":
    """Numbers and truths of `reference` as floats, words as str or None."""
    import pandas as pd

    return pd.DataFrame(
        {
            name: rows[name].astype("float64")
            if pd.api.types.is_numeric_dtype(reference[name])
            else rows[name].astype(object).where(rows[name].notna(), None)
            for name in rows.columns
        }
    )
