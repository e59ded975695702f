"""What monitoring knows of an experiment, question by question. Pure: what was found comes in, what
is to be read goes out; what was never found is said."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.records import ProfiledWindow
from mlops_assets.monitoring import charts, comparison, data_quality, judgement
from mlops_assets.monitoring.counting import counted
from mlops_assets.monitoring.data_quality import Quality
from mlops_assets.monitoring.judgement import Judgement
from mlops_assets.monitoring.performance import finding, verdict
from mlops_assets.monitoring.performance.finding import Found
from mlops_assets.monitoring.report.record import Section, State, Table

MOST_ROWS = 12
"""Of a table that is not folded away."""
ESTIMATE = "Dashed is an estimate: what the metric would be if {supposed}. It is no measurement."
LONGEST = 200
"""Characters of a cell."""
QUALITY, TRAFFIC, DRIFT = "Quality", "Traffic", "Drift"
PREDICTIONS, DATA = "Predictions", "Data quality"


def quality(experiment: Experiment, found: Found | None) -> Section:
    """Realised, with interval and coverage; the estimate beside it."""
    if experiment.monitoring.prediction_log is None:
        said = (
            "Not measured: this experiment keeps no log of its predictions "
            "(monitoring.prediction_log), so they are never joined with what came true."
        )
        return _silent(QUALITY, "not measured", said)
    if found is None:
        return _silent(QUALITY, "not measured yet", "No window of predictions was measured yet.")
    spec, judged = experiment.monitoring.quality, found.verdict
    state: State = "unknown" if judged.note else "good" if judged.passed else "bad"
    words = [_sentence(found.words)]
    if any(window.estimated for window in found.windows):
        words.append(ESTIMATE.format(supposed=finding.supposed(experiment.task)))
    worst = verdict.worst(found.standard, spec)
    length = timedelta(seconds=experiment.monitoring.quality_window_seconds)
    rows = [
        {**row, "window": begun(str(row["window"]), length)} for row in finding.rows(found, spec)
    ]
    return Section(
        QUALITY,
        state,
        _of_quality(found),
        tuple(words),
        (charts.quality(found.windows, found.standard, worst=worst),) if found.windows else (),
        more=_tables(rows, "By window, the newest first"),
    )


def _of_quality(found: Found) -> str:
    name, judged = found.standard.metric, found.verdict
    if judged.note:
        return "not enough labels yet"
    newest = judged.looked_at[-1].realised
    if judged.passed:
        return f"{name} holds at {newest.value:.3g}"
    return f"{name} fell to {judged.fallen[-1].realised.value:.3g}"


def traffic(windows: Sequence[ProfiledWindow], length: timedelta, now: datetime) -> Section:
    """Rows per window, of whichever version.

    Args:
        windows: oldest first.
        length: of each of them.
        now: aware.
    """
    if not windows:
        return _silent(TRAFFIC, "none seen", "No row of traffic was profiled yet.")
    total = sum(window.rows for window in windows)
    last = windows[-1].start
    first = begun(windows[0].start, length)
    age = now - (datetime.fromisoformat(last) + length)
    rows: dict[str, int] = {}
    for window in windows:
        rows[window.start] = rows.get(window.start, 0) + window.rows
    words = (
        f"{counted(total, 'row')} in {counted(len(rows), 'window')} with traffic, from "
        f"{first} on. The newest began {begun(last, length)}"
        f"{'' if age < timedelta(0) else f' and ended {span(age)} ago'}."
    )
    return Section(
        TRAFFIC,
        "unknown",
        f"{counted(total, 'row')} since {first}",
        (words,),
        (charts.traffic("Rows profiled in each window", [*rows], [*rows.values()]),),
    )


def drift(experiment: Experiment, title: str, found: Judgement | None) -> Section:
    """The ranked table, distances over the windows, and the first columns then and now."""
    spec = experiment.monitoring.drift
    if found is None:
        return _silent(title, "not judged yet", "No traffic was compared with anything yet.")
    if not found.judged:
        return _silent(title, "not judged", _sentence(found.reason))
    alarming = len(found.alarming)
    seen = sum(alarm.newest.drifted for alarm in found.alarms)
    if alarming:
        brief = f"{counted(alarming, 'column')} {'has' if alarming == 1 else 'have'} drifted"
    else:
        brief = f"as {comparison.WORDS[spec.against]}"
        brief = f"no alarm; {seen} differ in the newest window" if seen else brief
    state: State = "warning" if alarming else "good"
    reading = (
        f"A column counts as drifted from a Jensen-Shannon distance of {spec.effect:g} on (0: the "
        "same, 1: nothing in common) that chance does not explain, in "
        f"{spec.at_least} of {counted(spec.windows, 'window')}. Columns on which the model depends "
        "more stand first."
    )
    rows = [judgement.row(alarm) for alarm in found.alarms]
    wanted = ("column", "alarm", "windows", "importance", "jensen_shannon", "most_moved")
    return Section(
        title,
        state,
        brief,
        (_sentence(found.reason), reading),
        tuple(judgement.pictures(found, spec)),
        _tables([{name: row[name] for name in wanted} for row in rows[:MOST_ROWS]], ""),
        _tables(rows, f"All {counted(len(rows), 'column')}, every statistic"),
    )


def data(found: Quality | None) -> Section:
    """What values are not as expected."""
    if found is None:
        return _silent(DATA, "not judged yet", "No traffic was held to what is expected yet.")
    if not found.windows:
        return _silent(DATA, "not judged", _sentence(found.reason))
    concerned = len({alarm.latest.column for alarm in found.alarms if alarm.alarming})
    brief = f"{counted(concerned, 'column')} not as expected" if concerned else "as expected"
    rows = [data_quality.row(alarm) for alarm in found.alarms]
    return Section(
        DATA,
        "good" if found.passed else "bad",
        brief if concerned or found.passed else "an expectation cannot hold",
        (_sentence(found.reason),),
        tuple(data_quality.pictures(found)),
        _tables(rows[:MOST_ROWS], ""),
    )


def moment(at: str) -> str:
    """A time as people read it, in UTC: `26 Nov 2026, 06:30`."""
    read = datetime.fromisoformat(at)
    return f"{read.day} {read:%b %Y, %H:%M}"


def begun(start: str, length: timedelta) -> str:
    """When a window began: its day, where it lasts one or more."""
    words = moment(start)
    return words.partition(",")[0] if length >= timedelta(days=1) else words


def span(length: timedelta) -> str:
    """A length of time in its largest unit: `3 days`, `1 hour`."""
    seconds = max(int(length.total_seconds()), 0)
    for name, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            return counted(seconds // size, name)
    return counted(seconds, "second")


def verdict_of(subject: str, found: Sequence[Section]) -> str:
    """Whether it is well, in a sentence, from what its sections say."""
    wrong = [one for state in ("bad", "warning") for one in found if one.state == state]
    said = "; ".join(f"{one.title.lower()}: {one.brief}" for one in wrong)
    if any(one.state == "bad" for one in wrong):
        return f"{subject} is not well ({said})."
    if wrong:
        return f"{subject} wants a look ({said})."
    if any(one.state == "good" for one in found):
        return f"{subject} is well: whatever was judged is as it should be."
    return f"Whether {subject} is well is not known: nothing was judged yet."


def _silent(title: str, brief: str, said: str) -> Section:
    return Section(title, "unknown", brief, (said,))


def _sentence(text: str) -> str:
    """With a capital, unless it begins with a name, and a full stop."""
    first, _, rest = text.partition(" ")
    begun = first.capitalize() if first.isalpha() and first.islower() else first
    return f"{begun} {rest}".strip().removesuffix(".") + "."


def _tables(rows: Sequence[dict[str, str | float]], title: str) -> tuple[Table, ...]:
    """None where there is no row."""
    if not rows:
        return ()
    head = tuple(name.replace("_", " ") for name in rows[0])
    return (Table(head, tuple(tuple(_cell(v) for v in row.values()) for row in rows), title),)


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value if len(value) <= LONGEST else f"{value[:LONGEST]}…"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
