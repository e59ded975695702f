"""One experiment whose data, checks, runs and people do what a test says, under the pure part of
the sensor. What it remembers is stored and read again between ticks."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from mlops_assets.training.retraining import triggers
from mlops_assets.training.retraining.brakes import Data, Outcome, Past, Retraining
from mlops_assets.training.retraining.cases import Case, Memory, Part
from mlops_assets.training.retraining.course import Awaited, Facts, step
from mlops_assets.training.retraining.triggers import Evaluation
from mlops_assets.training.spec import Retrain

NAME = "churn"
START = datetime(2026, 6, 1, 12, tzinfo=UTC)


@dataclass
class Run:
    key: str
    part: Part
    started: datetime
    data: int
    recipe: int
    ended: datetime | None = None
    outcome: Outcome = "unfinished"
    refused: bool = False


@dataclass
class World:
    """Drive it with its methods; `runs` are those that were started."""

    spec: Retrain
    now: datetime = START
    memory: str = Memory().to_json()
    data: int = 0
    """Counts up when rows arrive."""
    recipe: int = 0
    refreshed: int = 0
    made: tuple[int, int] | None = None
    """Data and YAML of the last version."""
    by_hand: datetime | None = None
    registered_at: float = 0.0
    drift: Evaluation | None = None
    runs: list[Run] = field(default_factory=list)

    @property
    def models(self) -> list[Run]:
        return [run for run in self.runs if run.part == "model"]

    @property
    def case(self) -> Case:
        return Memory.from_json(self.memory).cases.get(NAME, Case())

    def tick(self) -> str:
        """One tick; what it said."""
        before = Memory.from_json(self.memory)
        since = datetime.fromisoformat(before.at) if before.at else self.now
        case = triggers.by_the_clock(self.spec, self.case, since=since, now=self.now)
        heard = [self.drift] if self.drift is not None and self.spec.on_drift else []
        case = triggers.by_checks(
            self.spec, case, heard, registered_at=self.registered_at, now=self.now
        )
        words = ""
        if case.is_open:
            taken = step(NAME, case, self.facts(case), self.now)
            case, words = taken.case, taken.words
            if taken.start is not None:
                start = taken.start
                rows = self.data if start.part == "data" else self.refreshed
                self.runs.append(Run(start.key, start.part, self.now, rows, self.recipe))
        self.memory = Memory(self.now.isoformat(timespec="seconds"), 0, {NAME: case}).to_json()
        return words

    def facts(self, case: Case) -> Facts:
        (run,) = [run for run in self.runs if run.key == case.key] or [None]
        awaited = None
        if run is not None:
            ends = {"unfinished": "unfinished", "version": "succeeded"}
            awaited = Awaited(run.key, ends.get(run.outcome, "failed"))  # type: ignore[arg-type]
        going = [run.key for run in self.runs if run.ended is None]
        past = [
            Retraining(run.key, run.started, run.ended, run.outcome, str(run.recipe))
            for run in reversed(self.models)
        ]
        data = None
        if awaited is not None and awaited.state == "succeeded" and case.part == "data":
            data = self._data()
        busy = going[0] if going else ""
        return Facts(
            self.spec, str(self.recipe), Past(tuple(past), self.by_hand, busy), awaited, data
        )

    def finish(self, outcome: Outcome, *, refused: bool = False) -> None:
        """The run under way ends."""
        for run in self.runs:
            if run.ended is None:
                run.ended, run.outcome, run.refused = self.now, outcome, refused
                if run.part == "data" and outcome == "version":
                    self.refreshed = run.data
                if run.part == "model" and outcome == "version":
                    self._register(run.data, run.recipe)

    def evaluate(self, *, passed: bool, version: str = "") -> None:
        """The drift check judges."""
        at = self.now.timestamp()
        self.drift = Evaluation("has_not_drifted", "drift", passed, at, version, "it drifted")

    def make_by_hand(self) -> None:
        """Somebody runs all of it, and a version comes of it."""
        self.by_hand, self.refreshed = self.now, self.data
        self._register(self.data, self.recipe)

    def wait(self, hours: float) -> None:
        self.now += timedelta(hours=hours)

    def spent(self, length: timedelta) -> list[Run]:
        return [run for run in self.models if run.started > self.now - length]

    def _register(self, data: int, recipe: int) -> None:
        self.made, self.registered_at = (data, recipe), self.now.timestamp()

    def _data(self) -> Data:
        same = self.made == (self.refreshed, self.recipe)
        tried = [
            run
            for run in self.models
            if (run.data, run.recipe) == (self.refreshed, self.recipe)
            if run.refused or run.outcome == "version"
        ]
        stale = {} if same else {"trained_model": "made from training_set, which will change"}
        words = f"tried by run {tried[-1].key}" if tried else ""
        data = Data(str(self.refreshed), self.refreshed * 10, stale, None, None)
        return replace(data, tried=words)
