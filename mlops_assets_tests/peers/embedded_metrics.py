"""CloudWatch's custom metrics, made of what programs write to their logs.

As its specification of the embedded metric format has it, and strictly: a line that would be
dropped there without a word is `broken` here. At once, where the real one takes a minute;
ListMetrics as late as `listed_after` has it.

Specification: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring, page
CloudWatch_Embedded_Metric_Format_Specification.
"""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlops_assets_tests.peers.aws import Aws, AwsError
from mlops_assets_tests.peers.aws_call import Call

MOST_QUERIES = 500
LONGEST_NAME = 255
LONGEST_VALUE = 1024
LARGEST_LINE = 256 * 1024
MOST_METRICS = 100
MOST_DIMENSIONS = 30
MOST_VALUES = 100
UNITS = frozenset({"Count", "None", "Seconds", "Milliseconds", "Bytes", "Percent"})
"""Of CloudWatch's units, those that a count or a duration may have."""

Key = tuple[str, str, frozenset[tuple[str, str]]]
"""Namespace, name and dimensions of a metric."""


class FormatError(ValueError):
    """A line that is no document of the embedded metric format, though it claims to be."""


@dataclass(frozen=True)
class Point:
    """A value of a metric."""

    key: Key
    seconds: float
    value: float


def points(line: str) -> list[Point]:
    """What CloudWatch makes of a line of a log; nothing of one that is no embedded metric.

    Raises:
        FormatError: it says that it holds metrics, and CloudWatch would drop it.
    """
    if '"_aws"' not in line:
        return []
    if len(line.encode()) > LARGEST_LINE:
        raise FormatError("the event is larger than CloudWatch Logs takes")
    try:
        root = json.loads(line)
    except ValueError as error:
        raise FormatError(f"no JSON alone: {error}") from error
    _must(isinstance(root, dict), "the root is no object")
    metadata = _object(root.get("_aws"), {"Timestamp", "CloudWatchMetrics"}, set())
    when = metadata["Timestamp"]
    _must(type(when) is int and when > 1e12, "Timestamp is no number of milliseconds")
    _must(abs(when / 1000 - time.time()) < 7200, "Timestamp is hours away")
    directives = metadata["CloudWatchMetrics"]
    _must(
        isinstance(directives, list) and directives, "CloudWatchMetrics is no array of directives"
    )
    return [
        Point(key, when / 1000, value)
        for directive in directives
        for key, values in _extracted(directive, root)
        for value in values
    ]


def _extracted(directive: Any, root: dict[str, Any]) -> Iterable[tuple[Key, list[float]]]:
    said = _object(directive, {"Namespace", "Dimensions", "Metrics"}, set())
    namespace, metrics = said["Namespace"], said["Metrics"]
    _text(namespace, LONGEST_NAME)
    _must(not namespace.startswith("AWS/"), "AWS keeps such namespaces for itself")
    _must(isinstance(metrics, list) and len(metrics) <= MOST_METRICS, "Metrics: 100 at most")
    _must(isinstance(said["Dimensions"], list) and said["Dimensions"], "no DimensionSet")
    for names in said["Dimensions"]:
        _must(isinstance(names, list) and len(names) <= MOST_DIMENSIONS, "30 dimensions at most")
        for name in names:
            _text(name, LONGEST_NAME)
            _text(root.get(name), LONGEST_VALUE)
        dimensions = frozenset((name, root[name]) for name in names)
        for metric in metrics:
            named = _object(metric, {"Name"}, {"Unit", "StorageResolution"})
            _text(named["Name"], LONGEST_NAME)
            _must(named.get("Unit", "None") in UNITS, "no such unit")
            _must(named.get("StorageResolution", 60) in (1, 60), "no such resolution")
            value = root.get(named["Name"])
            values = value if isinstance(value, list) else [value]
            _must(0 < len(values) <= MOST_VALUES, "a metric has 1 to 100 values")
            _must(all(type(one) in (int, float) for one in values), "a value is no number")
            yield (namespace, named["Name"], dimensions), [float(one) for one in values]


def _object(found: Any, required: set[str], optional: set[str]) -> dict[str, Any]:
    _must(isinstance(found, dict), f"no object with {sorted(required)}")
    _must(required <= found.keys() <= required | optional, f"members {sorted(found)}")
    return dict(found)


def _text(found: Any, longest: int) -> None:
    _must(isinstance(found, str) and 0 < len(found) <= longest, f"{found!r} is no such text")
    _must(found.isascii() and found.isprintable() and found.strip(), f"{found!r} is not ASCII")


def _must(holds: Any, words: str) -> None:
    if not holds:
        raise FormatError(words)


@dataclass
class EmbeddedMetrics:
    """Of the logs of one server."""

    aws: Aws
    logs: Callable[[], Iterable[Path]]
    """The files that programs write to, those of programs that ended among them."""
    listed_after: float = 0.0
    """Seconds until ListMetrics knows a metric."""
    page: int = 500
    """Metrics in one answer of ListMetrics."""
    points: dict[Key, list[Point]] = field(default_factory=lambda: defaultdict(list))
    _read: dict[Path, int] = field(default_factory=lambda: defaultdict(int))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.aws.answers["cloudwatch", "ListMetrics"] = self._list

    def values(self, query: Any, start: datetime, end: datetime) -> dict[str, list[Any]]:
        """Of a query of GetMetricData: one value for each period that has any."""
        metric, period = query["Metric"], int(query["Period"])
        if query["Stat"] != "Sum" or period % 60:
            raise AwsError("InvalidParameterValue", f"cannot be asked for: {query}")
        self.update()
        key = metric["Namespace"], metric["MetricName"], _pairs(metric["Dimensions"])
        first = start.timestamp() // period * period
        found: dict[float, float] = defaultdict(float)
        for one in self.points.get(key, ()):
            if first <= one.seconds < end.timestamp():
                found[one.seconds // period * period] += one.value
        times = [datetime.fromtimestamp(when, UTC) for when in found]
        return {"Timestamps": times, "Values": [*found.values()]}

    def update(self) -> None:
        """Read what has been written."""
        with self._lock:
            for path in self.logs():
                with path.open("rb") as log:
                    log.seek(self._read[path])
                    whole, newline, _ = log.read().rpartition(b"\n")
                self._read[path] += len(whole) + len(newline)
                for line in whole.decode(errors="replace").split("\n"):
                    self._take(line)

    def forget(self) -> None:
        """As if nothing had been written so far."""
        self.update()
        self.points.clear()

    def _take(self, line: str) -> None:
        try:
            for point in points(line):
                self.points[point.key].append(point)
        except FormatError as error:
            self.aws.broken.append(f"{error}: {line[:500]}")

    def _list(self, call: Call) -> dict[str, Any]:
        asked = call.parameters
        self.update()
        wanted = {(one["Name"], one.get("Value")) for one in asked.get("Dimensions", ())}
        known = time.time() - self.listed_after
        found = [
            key
            for key, values in self.points.items()
            if key[0] == asked.get("Namespace", key[0])
            and all((n, v) in key[2] or (v is None and n in dict(key[2])) for n, v in wanted)
            and min(one.seconds for one in values) <= known
        ]
        start = int(asked.get("NextToken") or 0)
        end = start + self.page
        metrics = [
            {
                "Namespace": namespace,
                "MetricName": name,
                "Dimensions": [{"Name": n, "Value": v} for n, v in sorted(dimensions)],
            }
            for namespace, name, dimensions in found[start:end]
        ]
        return {"Metrics": metrics, **({"NextToken": str(end)} if end < len(found) else {})}


def refuse_too_many(queries: list[Any]) -> None:
    if len(queries) > MOST_QUERIES:
        raise AwsError("ValidationError", f"{len(queries)} queries are more than {MOST_QUERIES}")


def _pairs(dimensions: Iterable[Any]) -> frozenset[tuple[str, str]]:
    return frozenset((one["Name"], one["Value"]) for one in dimensions)
