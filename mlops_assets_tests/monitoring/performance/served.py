"""An experiment whose version 1 is live: what its endpoint really writes, and labels told since."""

import csv
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from mlops_assets.features.labels import known
from mlops_assets.features.sources.base import SourceContext
from mlops_assets.features.table import TableSchema
from mlops_assets.gateways.data_store import DataStore, frame_digest
from mlops_assets.gateways.realised import Labels
from mlops_assets.monitoring.performance import logged, measurement
from mlops_assets.monitoring.performance.measurement import Measured
from mlops_assets.serving.recorder import Recorder
from mlops_assets.serving.scorer import Scorer, Scores
from mlops_assets_tests.builders import SCHEMA, Built, make_columns, make_experiment

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LATER = NOW + HOUR


@dataclass(frozen=True)
class Answers:
    """What was asked and answered in one request, and what came of it."""

    start: datetime
    request: str
    entities: list[str]
    scores: Scores
    truth: list[Any]


class Served:
    """The experiment, its store, and the file of labels.

    Attributes:
        told: rows of the labels' file: request, row, entity, event, known at, label.
    """

    def __init__(self, folder: Path, built: Built, store: DataStore, *, by: str = "entity") -> None:
        self.built, self.store, self.folder = built, store, folder
        self.task = built.manifest.task
        self.scorer = Scorer.open(built.folder)
        self.told: list[tuple[Any, ...]] = []
        source = {"kind": "csv", "path": str(folder / "labels.csv")}
        self.experiment = make_experiment(
            task=self.task,
            features={
                "source": {"kind": "csv", "path": str(folder / "rows.csv")},
                "target": "churned",
                "entity": "customer",
                "event_time": "month",
            },
            monitoring={
                "window": "hour",
                "prediction_log": {},
                "labels": {
                    "source": source,
                    "by": by,
                    "row": "row" if by == "request" else None,
                    "label_time": "known_at",
                    "within_hours": 1,
                },
                "quality": {"window": "hour", "lookback": 48},
            },
        )
        self.schema = TableSchema(SCHEMA, self.task, "churned", built.manifest.classes, (), {}, ())

    def answer(
        self,
        start: datetime,
        rows: int = 300,
        *,
        seed: int,
        version: int = 1,
        together: bool = False,
        **columns: Any,
    ) -> Answers:
        """A request of that many rows, recorded as an endpoint records it. Named columns hold one
        value in all rows; with `together` the values of tenure and charges are as ever, and rise
        with each other. Its truth is drawn from the probabilities that were answered."""
        asked = make_columns(rows, seed=seed)
        asked |= {name: [value] * rows for name, value in columns.items()}
        if together:
            asked["tenure"] = sorted(asked["tenure"])
            asked["charges"] = sorted(asked["charges"], key=lambda value: value or 0.0)
        scores = self.scorer.score(asked)
        entities = [f"c{seed}-{n}" for n in range(rows)]
        recorder = Recorder(
            self.built.manifest,
            recording=self.experiment.monitoring.recording(
                profiles_url=self.store.at(f"churn/profiles/{version}/local"),
                log_url=self.store.at(f"churn/predictions/{version}/local"),
            ),
            version=str(version),
            spool=self.folder / "unsent",
        )
        when = (start + timedelta(minutes=5)).timestamp()
        request = f"request-{seed}"
        recorder.submit(asked, scores, when=when, request_id=request, entities=entities)
        recorder.close()
        return Answers(start, request, entities, scores, self._truth(scores, seed))

    def _truth(self, scores: Scores, seed: int) -> list[Any]:
        # Not the numbers that made the inputs.
        rng = np.random.default_rng([seed, 1])
        if self.task == "regression":
            return [value + rng.normal() for value in scores.predictions]
        classes = self.built.manifest.classes
        return [rng.choice(classes, p=np.divide(row, np.sum(row))) for row in scores.probabilities]

    def tell(
        self,
        answers: Answers,
        *,
        rows: slice = slice(None),
        turned: bool = False,
        after: timedelta = timedelta(minutes=30),
    ) -> None:
        """Labels of some rows of a request, known so long after its window began."""
        no, yes = (*self.built.manifest.classes[:1], *self.built.manifest.classes[-1:]) or (0, 0)
        for n in range(len(answers.entities))[rows]:
            label = answers.truth[n]
            if turned:
                label = no if label == yes else yes
            start, at = answers.start.isoformat(), (answers.start + after).isoformat()
            self.told.append((answers.request, n, answers.entities[n], start, at, label))

    def write(self) -> Path:
        """The file of labels as it stands."""
        path = self.folder / "labels.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["request_id", "row", "customer", "month", "known_at", "churned"])
            writer.writerows(self.told)
        return path

    def labels(self) -> Labels:
        """What the asset of the labels makes of that file."""
        spec = self.experiment.labels
        assert spec is not None
        assert spec.source is not None
        self.write()
        here = SourceContext(directory=self.folder, cache=self.folder, storage_options={})
        found = known.read(spec.source.read(here), spec, self.schema, now=LATER)
        digest = frame_digest(found.frame)
        url = self.store.write_table(f"churn/labels/{digest[:16]}.parquet", found.frame)
        return Labels(url, digest, len(found.frame), len(found.frame), found.unreadable, "there")

    def measure(self, *, now: datetime = LATER) -> Measured:
        """What the asset of the performance makes of the log and the labels."""
        log = logged.index(self.store, "churn", since=NOW - 2 * DAY, until=LATER)
        labels = self.labels() if self.told else None
        return measurement.measure(self.store, self.experiment, log.windows, labels, now=now)
