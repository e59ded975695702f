"""What an endpoint tells CloudWatch: lines of its embedded metric format on standard output, out of
which it makes metrics without being called. Where the platform asks for them, and nowhere else.

Each line bears what has come since the last one: of a sum, it does not matter who wrote its parts.
No metric has a dimension but those of the version, and so their number is bounded, by which AWS
charges: one for rows, one for each label up to `LABELS`, one for each bound of the histogram, and
one for each reason by which requests were refused.
"""

import functools
import json
import logging
import os
import string
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

log = logging.getLogger(__name__)

NAMESPACE = "mlops"
ENDPOINT = "Endpoint"
VERSION = "Version"
"""The dimensions of every metric."""

ROWS = "rows"
LABEL = "label="
VALUE = "value<="
REFUSED = "refused="
"""Names of metrics, or their beginnings."""

LABELS = 50
"""Labels beyond as many share as many names."""
LONGEST_NAME = 200
"""Characters; CloudWatch takes 255."""
LARGEST_LINE = 4096
"""Bytes that a pipe takes at once, whoever else writes to it, and no collector of logs divides."""
MOST_METRICS = 100
"""In one line, says the specification."""
WHOLE_SECONDS = 60.0
"""A line holds zeros too when it is that long since one did: who reads the metrics of a time then
tells what did not happen from what is not told."""
EVERY_SECONDS = 10.0
"""Between two lines of a process that is not frozen."""

PLAIN = string.punctuation.replace("%", "") + " "


@dataclass(frozen=True)
class Totals:
    """What one process has counted since it started."""

    rows: int
    labels: Mapping[str, int]
    """Rows by predicted label; empty for a regression."""
    values: Mapping[str, int]
    """How many shown values, of a probability or of a regression, are at most a bound."""
    refused: Mapping[str, int]
    """Requests by the reason for which they were refused, or failed."""

    def named(self) -> Counter[str]:
        """By the names of metrics."""
        found = Counter({ROWS: self.rows})
        many = len(self.labels) > LABELS
        for label, count in self.labels.items():
            group = f"{LABEL}#{zlib.crc32(label.encode()) % LABELS}"
            found[group if many else _name(LABEL, label)] += count
        found.update({_name(VALUE, bound): count for bound, count in self.values.items()})
        found.update({_name(REFUSED, reason): count for reason, count in self.refused.items()})
        return found


def lines(
    counts: Mapping[str, int], dimensions: Mapping[str, str], milliseconds: int
) -> Iterator[bytes]:
    """Documents of the embedded metric format, each a line.

    Args:
        counts: by the names of metrics.
        dimensions: of all of them.
        milliseconds: when, since the epoch.
    """
    empty = len(_line({}, dimensions, milliseconds))
    told: dict[str, int] = {}
    size = empty
    for name, count in counts.items():
        longer = 2 * len(json.dumps(name)) + len(f'{{"Name":}},:{count},')
        if told and (size + longer > LARGEST_LINE or len(told) == MOST_METRICS):
            yield _line(told, dimensions, milliseconds)
            told, size = {}, empty
        told[name] = count
        size += longer
    if told:
        yield _line(told, dimensions, milliseconds)


class Embedded:
    """Writes what a process has counted since it last did."""

    def __init__(
        self,
        totals: Callable[[], Totals],
        dimensions: Mapping[str, str],
        *,
        put: Callable[[bytes], object] = lambda line: os.write(1, line),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            totals: what is counted now. What was counted before this was made is not told.
            dimensions: of the metrics.
            put: takes a line.
            clock: seconds since the epoch.
        """
        self._totals = totals
        self._dimensions = dict(dimensions)
        self._put = put
        self._clock = clock
        # A process may have the file of a fellow with its number, who is gone, and its counts.
        self._told = totals().named()
        self._whole_at = float("-inf")
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="embedded", daemon=True)

    def write(self) -> None:
        """Tell what is new; nothing when nothing is, but for the first time."""
        now, counted = self._clock(), self._totals().named()
        new = {name: count - self._told[name] for name, count in counted.items()}
        whole = now - self._whole_at >= WHOLE_SECONDS
        first = self._whole_at == float("-inf")
        if not first and not any(new.values()):
            return
        told = new if whole else {name: count for name, count in new.items() if count}
        self._told, self._whole_at = counted, now if whole else self._whole_at
        try:
            for line in lines(told, self._dimensions, int(now * 1000)):
                self._put(line)
        except OSError:  # nobody reads; the endpoint goes on
            log.exception("metrics could not be written")

    def start(self) -> None:
        """Write again and again, beside whatever the process does."""
        self._thread.start()

    def close(self) -> None:
        """Write what is left."""
        self._ending.set()
        self._thread.join()
        self.write()

    def _run(self) -> None:
        self.write()
        while not self._ending.wait(EVERY_SECONDS):
            self.write()


def _line(told: Mapping[str, int], dimensions: Mapping[str, str], milliseconds: int) -> bytes:
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": name} for name in told],
    }
    content = {
        "_aws": {"Timestamp": milliseconds, "CloudWatchMetrics": [directive]},
        **dimensions,
        **told,
    }
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


@functools.lru_cache(1024)
def _name(kind: str, of: str) -> str:
    """ASCII that CloudWatch takes as a name, which `unquote` makes readable again."""
    name = kind + quote(of, safe=PLAIN)
    if len(name) <= LONGEST_NAME:
        return name
    digest = f"~{zlib.crc32(of.encode()):08x}"
    return name[: LONGEST_NAME - len(digest)] + digest
