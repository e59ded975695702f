"""Reads the values of one column: text as numbers, truths, times and labels. Pure.

Every reader answers with the values it could read, and a mask of those it could not; missing
values are neither.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

MISSING_NUMBERS = frozenset(
    {"", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "none", "-", "--", "?", "."}
)
"""Texts that stand for a missing number or time, in lower case. In a column of words only a blank
is missing: `NA` is a country, `None` a kind of garage."""

READABLE = 0.995
"""Share of a text column's values that must read as numbers (or times) for it to be of that type:
exports lose a value here and there, and a column of codes reads far worse."""

_TRUTHS = {
    "true": 1.0, "yes": 1.0, "y": 1.0, "t": 1.0, "on": 1.0, "1": 1.0, "1.0": 1.0,
    "false": 0.0, "no": 0.0, "n": 0.0, "f": 0.0, "off": 0.0, "0": 0.0, "0.0": 0.0,
}  # fmt: skip
_WHOLE = re.compile(r"-?(?:0|[1-9]\d{0,17})")
_ISO = "ISO8601"
_TIME_FORMATS = (
    _ISO,
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
    *(
        day + time
        for day in (
            "%d.%m.%Y",
            "%d/%m/%Y",
            "%m/%d/%Y",
            "%d-%m-%Y",
            "%m-%d-%Y",
            "%d %b %Y",
            "%b %d, %Y",
        )
        for time in ("", " %H:%M", " %H:%M:%S")
    ),
)


@dataclass(frozen=True)
class Read:
    """The values of a column in their type, NaN (or None, NaT) where missing or unreadable."""

    values: "pd.Series[Any]"
    unread: "pd.Series[bool]"


def text(series: "pd.Series[Any]") -> "pd.Series[Any]":
    """Trimmed text, None where blank or missing; whole numbers without a decimal point."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(series):
        words = series.map(lambda value: value.isoformat(), na_action="ignore").astype(object)
        return words.where(words.notna(), None)
    if is_text(series):
        codes, distinct = pd.factorize(series)
        words = pd.Series([*(_word(value) for value in distinct), None], dtype=object)
        return _taken(words.where(words != "", None), codes, series)
    words = series.astype(object).map(_word, na_action="ignore").astype(object)
    return words.where(words.notna() & (words != ""), None)


def is_text(series: "pd.Series[Any]") -> bool:
    """Every value that is there is a str."""
    import pandas as pd

    return pd.api.types.infer_dtype(series, skipna=True) == "string"


def numbers(series: "pd.Series[Any]") -> Read:
    """float64. Infinite values are read as such."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_complex_dtype(series):
        plain = series.to_numpy(dtype="float64", na_value=float("nan"))
        return Read(pd.Series(plain, index=series.index, name=series.name), _never(series))
    return _read(series, lambda words: pd.to_numeric(words, errors="coerce").astype("float64"))


def share_of_numbers(series: "pd.Series[Any]") -> float:
    """Share of numbers among the values that are not missing; 0 when all are missing."""
    read = numbers(series)
    readable = int(read.values.notna().sum())
    total = readable + int(read.unread.sum())
    return readable / total if total else 0.0


def truths(series: "pd.Series[Any]") -> Read:
    """1.0 for true, yes, y, t, on, 1; 0.0 for their opposites."""

    def reader(words: "pd.Series[Any]") -> "pd.Series[Any]":
        return words.map(lambda word: _TRUTHS.get(word.lower()), na_action="ignore").astype(float)

    return _read(series, reader)


def times(series: "pd.Series[Any]", written: str) -> Read:
    """datetime64[ns, UTC] from one time format; times without a zone are taken as UTC."""
    import pandas as pd

    if written == "datetime" or pd.api.types.is_datetime64_any_dtype(series):
        typed = pd.to_datetime(series, utc=True, errors="coerce")
        return Read(typed.astype("datetime64[ns, UTC]"), _never(series))

    def reader(words: "pd.Series[Any]") -> "pd.Series[Any]":
        if written.startswith("epoch_"):
            since = pd.to_numeric(words, errors="coerce")
            unit: Literal["s", "ms"] = "ms" if written == "epoch_ms" else "s"
            found = pd.to_datetime(since, unit=unit, utc=True, errors="coerce")
        else:
            found = pd.to_datetime(words, format=written, utc=True, errors="coerce")
        return found.astype("datetime64[ns, UTC]")

    return _read(series, reader)


def time_formats(series: "pd.Series[Any]", *, numeric: bool, share: float) -> tuple[str, ...]:
    """The formats that read at least this share of a column's values, likeliest first.

    Args:
        series: the column.
        numeric: numbers may be times too: epochs, `20240131`, years.
        share: of the values that are not missing.
    """
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(series):
        return ("datetime",)
    words = text(series).dropna()
    words = words[~words.isin(_missing_among(words.unique()))]
    if words.empty:
        return ()
    sample = words.iloc[:: max(1, len(words) // 200)]
    whole = sample.str.fullmatch(r"\d+(?:\.\d+)?").mean() > 0.5
    if whole and not numeric:
        return ()
    if not whole and not sample.str.contains(r"\d[^\d].*\d").mean() >= min(share, 0.9):
        return ()
    formats = _numeric_formats(sample) if whole else _TIME_FORMATS

    def reads(written: str) -> bool:
        few = 1 - float(times(sample, written).unread.mean())
        return few >= min(share, 0.9) and 1 - float(times(words, written).unread.mean()) >= share

    if formats[:1] == (_ISO,) and reads(_ISO):
        return (_ISO,)
    return tuple(written for written in formats if reads(written))


def labels(series: "pd.Series[Any]") -> "pd.Series[Any]":
    """Classes as int when all are whole numbers, as bool when all are true or false, else as text;
    None where missing. So `1`, `"1"` and `1.0` are one label, whatever file they came from."""
    words = text(series)
    return _each(words, _reader(set(words.dropna().unique())))


def as_classes(series: "pd.Series[Any]", classes: tuple[Any, ...]) -> Read:
    """The labels of a column as they stand in `classes`."""
    words = text(series)
    truth = all(isinstance(known, bool) for known in classes)
    by_word = {str(known).lower() if truth else str(known): known for known in classes}
    found = _each(words, lambda word: by_word.get(word.lower() if truth else word))
    return Read(found, words.notna() & found.isna())


def label(value: object, among: tuple[Any, ...]) -> Any:
    """One label, as `labels` would write it among the others; text when it cannot be read so."""
    return _reader({_word(value), *(_word(other) for other in among)})(_word(value))


def _reader(words: set[str]) -> Callable[[str], Any]:
    if all(_WHOLE.fullmatch(word) for word in words):
        return int
    if {word.lower() for word in words} <= {"true", "false"}:
        return lambda word: word.lower() == "true"
    return str


def _each(words: "pd.Series[Any]", reader: Callable[[str], Any]) -> "pd.Series[Any]":
    """Python values, None where missing: `map` would turn whole numbers into floats."""
    import pandas as pd

    found = [None if word is None else reader(word) for word in words]
    return pd.Series(found, index=words.index, name=words.name, dtype=object)


def _word(value: object) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value).strip()


def _missing_among(words: Iterable[str]) -> list[str]:
    return [word for word in words if word.lower() in MISSING_NUMBERS]


def _read(series: "pd.Series[Any]", reader: Callable[["pd.Series[Any]"], Any]) -> Read:
    """Reads every distinct text once: a column repeats its values more often than not."""
    import pandas as pd

    codes, distinct = pd.factorize(text(series))
    # A missing cell has code -1: the last of the values.
    words = pd.Series([*distinct, None], dtype=object)
    words = words.where(~words.isin(_missing_among(distinct)), None)
    found = reader(words)
    unread = words.notna() & found.isna()
    return Read(_taken(found, codes, series), _taken(unread, codes, series))


def _taken(found: "pd.Series[Any]", codes: Any, series: "pd.Series[Any]") -> "pd.Series[Any]":
    taken: pd.Series[Any] = found.iloc[codes].set_axis(series.index)
    taken.name = series.name
    return taken


def _numeric_formats(sample: "pd.Series[Any]") -> tuple[str, ...]:
    if sample.str.fullmatch(r"(?:19|20|21)\d{2}[01]\d[0-3]\d").all():
        return ("%Y%m%d",)
    if sample.str.fullmatch(r"(?:19|20|21)\d{2}").all():
        return ("%Y",)
    middle = sample.astype(float).median()
    if 1e8 <= middle < 1e11:
        return ("epoch_s",)
    return ("epoch_ms",) if 1e11 <= middle < 1e14 else ()


def _never(series: "pd.Series[Any]") -> "pd.Series[bool]":
    import pandas as pd

    return pd.Series(False, index=series.index)
