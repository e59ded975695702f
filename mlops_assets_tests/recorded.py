"""Traffic of before: what a live endpoint would have recorded, by its own recorder."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mlops_assets.commands import kept
from mlops_assets.deployment import releases
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways.profile_store import ProfileStore
from mlops_assets.modeling.scoring import records
from mlops_assets.serving.recorder import Recorder
from mlops_assets.serving.schema import InputSchema
from mlops_assets.serving.scorer import Scorer
from mlops_assets_tests.commands.project import Project


def record_the_past(project: Project, experiment: Experiment, *, windows: int, rows: int) -> None:
    """Profiles of version 1 in the windows before this one: rows drawn from the training set."""
    import pandas as pd

    name = experiment.name
    training_set = project.record(name, "training_set")
    schema = InputSchema.from_json(list(training_set.schema))
    table = pd.read_parquet(training_set.url)
    random = np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        found = releases.fetch(project.registry, experiment.model_name, 1, Path(folder))
        scorer = Scorer.open(found.folder)
        profiles = ProfileStore(kept.store(project.settings)).url_for(name, 1, "local")
        recorder = Recorder(
            scorer.manifest,
            recording=experiment.monitoring.recording(profiles_url=profiles, log_url=""),
            version="1",
            spool=project.root / "spool",
        )
        recorder.start()
        for window in range(1, windows + 1):
            asked = records(table.sample(rows, replace=True, random_state=random), schema)
            columns = {each: [row[each] for row in asked] for each in schema.names}
            when = time.time() - window * experiment.monitoring.window_seconds
            recorder.submit(columns, scorer.score(columns), when=when, request_id=str(window))
        recorder.close()
