"""A version on the real server before it is deployed anywhere."""

import shutil
from pathlib import Path

import pytest

from mlops_assets.deployment import preflight, reports
from mlops_assets.deployment.breach import NO_ANSWER, Breach
from mlops_assets.deployment.preflight import Report
from mlops_assets.deployment.spec import PreflightSpec
from mlops_assets.serving import bundle
from mlops_assets_tests.builders import Built, make_bundle
from mlops_assets_tests.endpoints import Place


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return make_bundle(tmp_path_factory.mktemp("preflight") / "bundle")


def fly(folder: Path, place: Path, **asked: float) -> Report:
    spec = PreflightSpec(requests=30, **asked)
    return preflight.fly(
        folder, experiment="churn", version=7, spec=spec, context=Place(place).context
    )


def test_a_good_version_passes_and_its_numbers_are_told(built: Built, tmp_path: Path) -> None:
    found = fly(built.folder, tmp_path, max_memory_mb=1000, max_latency_ms=5000)
    assert (found.passed, found.problems) == (True, ())
    assert found.golden == "5 golden requests answered as in training"
    assert 0 < found.p50_ms <= found.p99_ms < 5000
    assert 20 < found.memory_mb < 1000
    assert 0 < found.start_s < 60
    assert [*tmp_path.iterdir()] == [], "it left something behind"
    told = reports.preflight_of(found, None)
    assert told.passed
    assert told.breach is None
    assert "99 of 100 requests within" in told.reason


def test_budgets_are_held(built: Built, tmp_path: Path) -> None:
    found = fly(built.folder, tmp_path, max_memory_mb=1, max_latency_ms=0.001)
    assert not found.passed
    slow, large = found.problems
    assert "max_latency_ms is 0.001" in slow.words
    assert slow.breach == Breach(f"{found.p99_ms:.1f} ms", "0.001 ms")
    assert "max_memory_mb is 1" in large.words
    assert large.breach == Breach(f"{found.memory_mb:.0f} MB", "1 MB")
    told = reports.preflight_of(found, None)
    assert told.reason == f"{slow.words}; {large.words}"
    assert told.breach == slow.breach


def test_a_bundle_that_does_not_load_is_refused_with_the_reason(
    built: Built, tmp_path: Path
) -> None:
    damaged = shutil.copytree(built.folder, tmp_path / "damaged")
    (damaged / bundle.GOLDEN).write_text("{}")
    found = fly(damaged, tmp_path)
    assert not found.passed
    (problem,) = found.problems
    assert "is not the file its manifest describes" in problem.words
    assert problem.breach == NO_ANSWER


def test_a_model_that_answers_otherwise_than_in_training_is_refused(
    built: Built, tmp_path: Path
) -> None:
    other = make_bundle(tmp_path / "other", seed=1)
    swapped = shutil.copytree(built.folder, tmp_path / "swapped")
    shutil.copy(other.folder / "model.onnx", swapped)
    bundle.seal(swapped, built.manifest)
    found = fly(swapped, tmp_path)
    assert not found.passed
    (problem,) = found.problems
    assert "golden request" in problem.words
    # Its own self-test ends the server.
    assert problem.breach == NO_ANSWER
