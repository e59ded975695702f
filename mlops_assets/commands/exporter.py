"""Answers Prometheus: `/metrics` of the platform, `/sd` with the endpoints of this machine. Looks
at most every few seconds, however often it is asked. Knows neither Dagster nor targets."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from mlops_assets.commands.listening import Handler, Listener
from mlops_assets.monitoring.exporter.facts import Facts
from mlops_assets.monitoring.exporter.families import Sample, bounded, render, samples

AT_LEAST_S = 5.0
"""Between the end of a look and the next."""
SHARE = 0.1
"""Of the time that may go into looks: while they take long, they are taken more seldom. A single
long one, as the first is, which loads the YAMLs, changes nothing."""
PATIENCE_S = 8.0
"""For a look; Prometheus by default waits for 10 seconds."""

Part = Literal["experiments", "storage"]
PARTS: tuple[Part, ...] = ("experiments", "storage")


class LookError(Exception):
    """A look that failed; the message says why, `part` at what."""

    def __init__(self, part: Part, message: str) -> None:
        self.part: Part = part
        super().__init__(message)


class Watch:
    """The last look that succeeded, and what is known of the newest one."""

    def __init__(
        self,
        look: Callable[[], Facts],
        *,
        most: int,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        patience: float = PATIENCE_S,
    ) -> None:
        """
        Args:
            look: raises LookError.
            most: series of the platform.
            tell: a line for people, when looking begins or ends to fail.
            clock: seconds that only grow.
            now: seconds since 1970.
            patience: seconds that a caller waits for a look.
        """
        self._look, self._most, self._tell = look, most, tell
        self._clock, self._now, self._patience = clock, now, patience
        self._lock = threading.Lock()
        self._pending: threading.Event | None = None
        self._due = clock()
        self._facts: Facts | None = None
        self._looked = self._seconds = 0.0
        self._errors: Counter[str] = Counter()
        self.trouble = ""
        """Why the newest look failed, or has not ended; empty when it succeeded."""

    def told(self) -> list[Sample]:
        """All samples; a look that hangs is not waited for."""
        self.refresh()
        facts = self._facts
        if facts is None:
            return self._own(0, 0)
        kept, left_out = bounded(samples(facts), facts.experiments, most=self._most)
        return [*self._own(len(facts.experiments), left_out), *kept]

    def refresh(self) -> None:
        """Look again, if it is time to."""
        with self._lock:
            if self._pending is None and self._clock() >= self._due:
                self._pending = threading.Event()
                work = threading.Thread(target=self._work, args=(self._pending,), daemon=True)
                work.start()
            pending = self._pending
        if pending is not None and not pending.wait(self._patience):
            self._is(f"looking takes longer than {self._patience:g} s")

    def _work(self, done: threading.Event) -> None:
        began, trouble = self._clock(), ""
        try:
            self._facts = self._look()
            self._looked = self._now()
        except LookError as error:
            self._errors[error.part] += 1
            trouble = f"{error.part} cannot be read: {error}"
        except Exception as error:  # noqa: BLE001 a fault of ours; the next look may succeed
            trouble = f"looking is broken: {error!r}"
        finally:
            self._is(trouble)
            seconds = self._clock() - began
            usual, self._seconds = min(seconds, self._seconds), seconds
            with self._lock:
                self._due = self._clock() + max(AT_LEAST_S, usual / SHARE)
                self._pending = None
            done.set()

    def _is(self, trouble: str) -> None:
        if bool(trouble) != bool(self.trouble):
            self._tell(trouble or "the platform can be read again")
        self.trouble = trouble

    def _own(self, experiments: int, left_out: int) -> list[Sample]:
        return [
            Sample("mlops_platform_up", (), float(not self.trouble)),
            Sample("mlops_platform_looked_timestamp_seconds", (), self._looked),
            Sample("mlops_platform_look_seconds", (), self._seconds),
            *(Sample("mlops_platform_look_errors_total", (p,), self._errors[p]) for p in PARTS),
            Sample("mlops_platform_experiments", (), float(experiments)),
            Sample("mlops_platform_experiments_left_out", (), float(left_out)),
        ]


class Exporter(Listener):
    """Answers GET: `/metrics`, `/sd` and `/health`."""

    def __init__(
        self,
        address: tuple[str, int],
        watch: Watch,
        discover: Callable[[], list[dict[str, Any]]],
    ) -> None:
        """
        Args:
            address: host and port; port 0 takes a free one.
            watch: what is told.
            discover: the endpoints of this machine, as Prometheus's HTTP service discovery has
                them; raises LookError.
        """
        self.watch = watch
        self.discover = discover
        super().__init__(address, _Handler)


class _Handler(Handler):
    server: Exporter
    server_version = "mlops-metrics"

    def get(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self.answer(200, *render(self.server.watch.told()))
        elif path == "/sd":
            self._discover()
        elif path == "/health":
            self.server.watch.refresh()
            trouble = self.server.watch.trouble
            self.answer(503 if trouble else 200, trouble.encode() or b"ok")
        else:
            self.answer(404, b"there are /metrics, /sd and /health")

    def _discover(self) -> None:
        try:
            groups = self.server.discover()
        except LookError as error:
            # Prometheus then keeps the targets that it has.
            self.answer(503, str(error).encode())
            return
        self.answer(200, json.dumps(groups).encode(), "application/json")
