"""What an endpoint left on a real store, and what the monitoring job finds in it."""

import os
from collections import Counter
from datetime import UTC, datetime, timedelta

import dagster as dg
import numpy as np

from mlops_assets import resources, settings
from mlops_assets import vocabulary as names
from mlops_assets.deployment import assets as deployment_assets
from mlops_assets.gateways import record_json
from mlops_assets.gateways.profile_store import reference_path
from mlops_assets.gateways.records import Endpoint
from mlops_assets.graph import build_all
from mlops_assets.monitoring import assets, checks, comparison, drift, windows
from mlops_assets.monitoring.profiles import Reader
from mlops_assets.serving.contents import Contents
from mlops_assets.serving.profile import Profile
from mlops_assets.serving.recording import STAMP
from mlops_assets.serving.schema import InputSchema
from mlops_assets_tests.builders import make_experiment

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Traffic:
    """An experiment whose version 3 is live, and what its endpoint left on the store.

    Attributes:
        now: the newest hour that is over.
    """

    def __init__(self, folder, *, monitoring=None, **rules):
        rules = {"window": "hour", "drift": rules, **(monitoring or {})}
        self.experiment, self.folder = make_experiment(monitoring=rules), folder
        self.resources = resources.build(settings.load({"MLOPS_HOME": str(folder)}))
        self.store = self.resources["data_store"]
        self.random = np.random.default_rng(0)
        self.now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - HOUR
        self.endpoint = Endpoint(
            experiment="churn",
            target="local",
            url="http://127.0.0.1:9",
            version=3,
            bundle_digest="d",
            since=(self.now - DAY).isoformat(),
            previous_version=None,
        )
        path = "records/churn/endpoints/local/latest.json"
        self.store.write_bytes(path, record_json.to_json(self.endpoint).encode())
        self.store.write_bytes(reference_path("churn", 3), self.profile(20_000))
        self.files = 0

    def profile(self, rows, *, shift=0.0, churned=0.3, missing=0.0):
        profile = Profile(InputSchema(()), when=self.now)
        tenure, charges = self.random.normal(size=(2, rows))
        tenure[: int(rows * missing)] = np.nan
        labels = Counter(np.where(self.random.random(rows) < churned, "yes", "no").tolist())
        contents = {"tenure": tenure, "charges": charges + shift, "prediction": labels}
        profile.add(Contents(rows, contents))
        return profile.serialize()

    def flush(self, start, rows=1000, *, version=3, came=None, **content):
        self.leave(start, self.profile(rows, **content), version=version, came=came)

    def leave(self, start, content, *, version=3, came=None):
        """A file of the endpoint, of the window that its clock says; it came then, or just now."""
        self.files += 1
        path = f"churn/profiles/{version}/local/{start:{STAMP}}/{self.files}.bin"
        self.store.write_bytes(path, content)
        if came is not None:
            os.utime(self.folder / "data" / path, (came.timestamp(), came.timestamp()))

    def judge(self, *wanted):
        """By name, what a run of the monitoring job finds."""
        shared = dg.Definitions(resources=self.resources, executor=dg.in_process_executor)
        job = build_all([self.experiment], shared).resolve_job_def(names.monitor_job("hour"))
        key = names.asset_key("churn", names.SERVING_PROFILE)
        wanted = wanted or (names.HAS_NOT_DRIFTED, names.PREDICTIONS_HAVE_NOT_DRIFTED)
        part = job.get_subset(
            asset_selection=frozenset({key}),
            asset_check_selection=frozenset(dg.AssetCheckKey(key, name) for name in wanted),
        )
        with dg.DagsterInstance.ephemeral() as instance:
            result = part.execute_in_process(instance=instance)
        return {check.check_name: check for check in result.get_asset_check_evaluations()}

    def job(self, ask, *wanted):
        """Collects and judges, by endpoints that tell what `ask` says."""
        key = names.asset_key("churn", names.SERVING_PROFILE)
        made = [room.build(self.experiment) for room in (deployment_assets, assets)]
        parts = *made, checks.build(self.experiment, ask)
        others = (names.TRAINING_SET, names.REGISTERED_VERSION)
        selected = dg.AssetSelection.checks(*(dg.AssetCheckKey(key, name) for name in wanted))
        job = dg.define_asset_job(
            "judging", dg.AssetSelection.assets(key).without_checks() | selected
        )
        shared = dg.Definitions(
            assets=[dg.AssetSpec(names.asset_key("churn", name)) for name in others],
            jobs=[job],
            resources=self.resources,
            executor=dg.in_process_executor,
        )
        return dg.Definitions.merge(*parts, shared).resolve_job_def("judging")

    def lately(self):
        return windows.lately(self.store, self.experiment, [self.endpoint], now=self.now + HOUR)

    def drifted(self):
        """Columns that drifted in the newest window."""
        compared = comparison.compare(self.experiment, self.lately(), Reader(self.store))
        verdicts = drift.judge(compared.windows[-1].columns, self.experiment.monitoring.drift)
        return [verdict.column for verdict in verdicts if verdict.drifted]

    def quality(self):
        return self.judge(names.DATA_QUALITY_HOLDS)[names.DATA_QUALITY_HOLDS]

    def inputs(self):
        return self.judge()[names.HAS_NOT_DRIFTED]
