"""What registration and the gates leave behind: the assets, over a real store, without training."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import pytest

from mlops_assets import vocabulary as names
from mlops_assets.experiment.model import Experiment
from mlops_assets.gateways import champions, record_json
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.decisions import AUTHOR, COMPARED_WITH, FROZEN_UNTIL, THE_GATES, Decision
from mlops_assets.gateways.model_registry import CHAMPION, ModelRegistry
from mlops_assets.gateways.records import Evaluation, TrainedModel
from mlops_assets.gateways.registered import MEASURED, MODEL_CARD
from mlops_assets.gateways.versions import run_record
from mlops_assets.registry import assets, checks, record
from mlops_assets.resources import RecordIOManager
from mlops_assets_tests.registry.deciding import experiment
from mlops_assets_tests.registry.evaluations import compared, evaluated

ALWAYS = [
    {"start": "Mon 00:00", "end": "Sun 23:59", "reason": "all week"},
    {"start": "Sun 23:00", "end": "Mon 01:00", "reason": "and the rest of it"},
]
CARD = "# churn\n\nWhat was measured.\n"
GATES = dg.AssetSelection.checks(
    *(dg.AssetCheckKey(names.asset_key("churn", names.EVALUATION), name) for name in checks.GATES)
)


class Site:
    """A store with a trained and evaluated model, and the runs that decide about it."""

    def __init__(self, root: Path, registry: ModelRegistry) -> None:
        self.registry = registry
        self.store = DataStore(str(root / "data"), {})
        self.run_id = ""

    def trained(self, chosen: Experiment, *, gap: float = 0.05, adopts: int | None = None) -> None:
        """A model of a run of its own whose roc_auc is better than the champion's by about
        `gap`."""
        made = self.registry.client.create_run(self.registry.experiment_id("churn"))
        self.run_id = made.info.run_id
        bundle = {"mlops.bundle_uri": f"runs:/{self.run_id}/bundle", "mlops.bundle_digest": "d"}
        tags = bundle if adopts is None else {**bundle, "mlops.adopts": str(adopts)}
        self.registry.log(self.run_id, tags=tags)
        self.registry.log_text(self.run_id, CARD, MEASURED)
        trained = TrainedModel(
            run_id=self.run_id,
            model_uri=f"runs:/{self.run_id}/model",
            bundle_uri=bundle["mlops.bundle_uri"],
            bundle_digest="d",
            threshold=0.5,
            parity={},
            parameters={},
            code_version="c",
            data_digest="data",
            snapshot_digest="snapshot",
            adopts=adopts,
        )
        measured = compared("roc_auc", gap - 0.01, gap + 0.01)
        found = evaluated(chosen.promotion, measured, metrics={"roc_auc": 0.8 + gap})
        self._keep(names.TRAINED_MODEL, trained)
        self._keep(names.EVALUATION, record_json.from_json(Evaluation, _of(found, self.run_id)))

    def _keep(self, asset: str, record: Any) -> None:
        content = record_json.to_json(record).encode()
        self.store.write_bytes(f"records/churn/{asset}/latest.json", content)

    def decide(self, chosen: Experiment, *, user: str = "bob", **tags: str) -> Any:
        """The gates, and registration where they let it."""
        with dg.DagsterInstance.ephemeral() as instance:
            definitions = dg.Definitions.merge(
                dg.Definitions(
                    resources={
                        "io_manager": RecordIOManager(self.store),
                        "model_registry": self.registry,
                        "user": user,
                        "dagster_url": "http://dagster",
                    },
                    assets=[
                        dg.AssetSpec(names.asset_key("churn", part))
                        for part in (names.TRAINED_MODEL, names.EVALUATION)
                    ],
                    jobs=[dg.define_asset_job("decide", dg.AssetSelection.all() | GATES)],
                ),
                assets.build(chosen),
                checks.build(chosen),
            )
            job = definitions.resolve_job_def("decide")
            return job.execute_in_process(instance=instance, raise_on_error=False, tags=tags)

    def tags(self, number: int = 1) -> dict[str, str]:
        return dict(self.registry.version("churn", number).tags)

    def text(self, file: str) -> str:
        with TemporaryDirectory() as folder:
            path = self.registry.download(f"runs:/{self.run_id}/{file}", Path(folder))
            return path.read_text(encoding="utf-8")


def _of(evaluation: Evaluation, run_id: str) -> str:
    return record_json.to_json(evaluation).replace('"run_id": "run"', f'"run_id": "{run_id}"')


def metadata(result: Any) -> dict[str, Any]:
    (event,) = result.get_asset_materialization_events()
    return {k: v.value for k, v in event.materialization.metadata.items()}


@pytest.fixture
def site(tmp_path: Path, model_registry: ModelRegistry) -> Site:
    return Site(tmp_path, model_registry)


def test_what_passes_is_champion_and_its_page_and_file_tell_who_when_and_why(site: Site) -> None:
    chosen = experiment()
    site.trained(chosen)
    result = site.decide(chosen)
    assert result.success
    assert site.registry.aliases("churn")[CHAMPION] == 1
    model = site.registry.model("churn")
    assert model is not None
    assert champions.crowned(model) is not None
    tags = site.tags()
    assert (tags[AUTHOR], tags[COMPARED_WITH]) == ("bob", "4")
    page = metadata(result)
    assert (page["decided_by"], page["made_by"]) == (THE_GATES, "bob")
    assert page["dagster_run"] == f"http://dagster/runs/{result.run_id}"
    row = "| roc_auc | superior | 0.8500 | 0.8000 | +0.0500 (+0.0400 to +0.0600) | 0 | passed |"
    assert row in page["findings"]
    assert row in site.text("decision.md")
    assert f"[{result.run_id}](http://dagster/runs/{result.run_id})" in site.text("decision.md")
    card = site.text(MODEL_CARD)
    assert card.startswith(f"{CARD}\n## Decision\n\n- Outcome: **promoted**\n")
    assert row in card


@pytest.mark.parametrize(
    ("tags", "author"),
    [
        ({"dagster/schedule_name": "nightly"}, "schedule nightly"),
        ({"dagster/sensor_name": "drift", names.AUTHOR_TAG: "eve"}, "sensor drift"),
        ({names.AUTHOR_TAG: "eve"}, "eve"),
    ],
)
def test_the_author_is_who_started_the_run(tags: dict[str, str], author: str) -> None:
    assert names.author_of(tags, "bob") == author


def test_in_a_freeze_it_waits_and_keeps_the_champion(site: Site) -> None:
    chosen = experiment(freeze=ALWAYS)
    site.trained(chosen)
    result = site.decide(chosen)
    assert CHAMPION not in site.registry.aliases("churn")
    decision = Decision.of(site.tags())
    assert decision is not None
    assert decision.outcome == "waiting"
    assert decision.reason.startswith("frozen until ")
    assert FROZEN_UNTIL in site.tags()
    assert metadata(result)["alias"] == "challenger"


def test_to_repeat_a_run_takes_nothing_back_that_people_decided(site: Site) -> None:
    chosen = experiment(approval="manual")
    site.trained(chosen)
    assert site.decide(chosen).success
    by_ann = Decision("refused", "rejected: unfair", "ann", "2026-12-20T09:00:00+00:00", "")
    site.registry.tag_version("churn", 1, by_ann.tags())
    again = site.decide(experiment())
    assert again.success
    assert Decision.of(site.tags()) == by_ann
    assert CHAMPION not in site.registry.aliases("churn")
    assert metadata(again)["decided_by"] == "ann"


def test_the_card_says_what_was_decided_last(site: Site) -> None:
    chosen = experiment()
    site.trained(chosen)
    site.decide(chosen)
    by_ann = Decision("refused", "rejected: unfair", "ann", "2026-12-20T09:00:00+00:00", "")
    site.registry.tag_version("churn", 1, by_ann.tags())
    version = site.registry.version("churn", 1)
    for _ in range(2):
        record.write(site.registry, chosen, version, dagster_url="http://dagster")
        card = site.text(MODEL_CARD)
        assert card.startswith(f"{CARD}\n## Decision\n\n- Outcome: **refused**\n")
        assert "- Decided by: ann\n" in card
        assert "promoted" not in card


def test_a_refused_model_leaves_its_record_in_its_run(site: Site) -> None:
    chosen = experiment()
    site.trained(chosen, gap=0.0)
    result = site.decide(chosen)
    assert not result.success
    assert site.registry.model("churn") is None
    assert '"result": "failed"' in site.text("decision.json")
    said = site.text("decision.md")
    assert f"# Decision about the model of run {site.run_id}" in said
    assert "- Outcome: **refused**\n- Why: beats_champion: roc_auc is no better than" in said
    assert "+0.0000 (-0.0100 to +0.0100)" in said
    assert site.text(MODEL_CARD).startswith(f"{CARD}\n## Decision\n\n- Outcome: **refused**\n")
    run = run_record(site.registry, site.run_id)
    assert run is not None
    decision = Decision.of(run.tags)
    assert decision is not None
    assert (decision.outcome, decision.run_id) == ("refused", result.run_id)


def test_a_refused_version_of_others_carries_what_force_needs(site: Site) -> None:
    chosen = experiment()
    number = site.registry.register("churn", source="runs:/r/model", run_id="", tags={})
    site.trained(chosen, gap=0.0, adopts=number)
    assert not site.decide(chosen).success
    tags = site.tags(number)
    assert tags["mlops.bundle_uri"] == f"runs:/{site.run_id}/bundle"
    decision = Decision.of(tags)
    assert decision is not None
    assert (decision.outcome, decision.by) == ("refused", THE_GATES)


def test_who_registered_a_version_by_mlflow_alone_is_its_author(site: Site) -> None:
    chosen = experiment()
    made = site.registry.client.create_run(
        site.registry.experiment_id("notebooks"), tags={"mlflow.user": "carol"}
    )
    number = site.registry.register(
        "churn", source="runs:/r/model", run_id=made.info.run_id, tags={}
    )
    site.trained(chosen, adopts=number)
    assert site.decide(chosen, **{"dagster/sensor_name": "registry_changed"}).success
    assert site.tags(number)[AUTHOR] == "carol"
