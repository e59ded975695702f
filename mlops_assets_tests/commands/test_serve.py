"""Where `mlops serve` finds a bundle, and what it refuses before anything starts."""

from pathlib import Path

import click
import pytest

from mlops_assets import settings
from mlops_assets.commands.serve import _fetched
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.serving import bundle
from mlops_assets_tests.builders import Built, make_bundle


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> settings.Settings:
    return settings.load({"MLOPS_ROOT": str(tmp_path_factory.mktemp("root"))})


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("built") / "bundle")


@pytest.fixture(scope="module")
def uri(here, built) -> str:
    """Version 1 of churn is the champion, version 2 was changed after it was registered."""
    registry = ModelRegistry(here.tracking_uri, here.artifacts_url, here.mlflow_url)
    run = registry.run_for("churn", "kind", "test", name="test")
    for path in built.folder.iterdir():
        registry.client.log_artifact(run, str(path), "bundle")
    uri = f"runs:/{run}/bundle"
    for digest in (built.digest, "0" * 64):
        tags = {"mlops.bundle_uri": uri, "mlops.bundle_digest": digest}
        registry.register("churn", source=uri, run_id=run, tags=tags)
    registry.set_alias("churn", "champion", 1)
    return uri


def test_versions_aliases_and_runs_lead_to_the_same_verified_copy(here, built, uri):
    found = [_fetched(here, one) for one in ("models:/churn/1", "models:/churn@champion", uri)]
    assert [version for _, version in found] == [1, 1, 0]
    (folder,) = {folder for folder, _ in found}
    assert folder == Path(here.home) / "served" / built.digest
    bundle.verify(folder)
    assert [path.name for path in folder.parent.iterdir()] == [built.digest]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("models:/churn/2", "its artifacts were changed"),
        ("models:/churn/9", "no version 9"),
        ("models:/churn@nobody", "no alias nobody; it has champion"),
        ("models:/churn", "write models:/NAME/VERSION or models:/NAME@ALIAS"),
        ("runs:/0123456789abcdef/bundle", "cannot be fetched"),
    ],
)
def test_what_is_not_there_or_was_changed_is_refused(here, uri, asked, said):
    with pytest.raises(click.ClickException, match=said):
        _fetched(here, asked)
