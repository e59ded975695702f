"""A registered version beside the same one built anew: whether they predict the same, and what else
is not as it was."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from mlops_assets.commands import rebuild
from mlops_assets.commands.rebuild import Recorded, Tell
from mlops_assets.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from mlops_assets.experiment.model import Experiment
    from mlops_assets.modeling.outcome import Outcome
    from mlops_assets.serving.bundle import Golden

Verdict = Literal["exact", "within tolerance", "differs"]


@dataclass(frozen=True)
class Difference:
    """Something that is not as it was when the version was trained."""

    what: str
    recorded: str
    now: str


@dataclass(frozen=True)
class Agreement:
    """Two models on the same rows."""

    rows: int
    max_difference: float
    """Of probabilities; for regression of values, relative to each recorded value above one."""
    label_flips: int


@dataclass(frozen=True)
class Reproduction:
    """How a version that was built anew compares with the registered one."""

    experiment: str
    version: int
    verdict: Verdict
    tolerance: float
    data: str
    """Where the rows came from, in words."""
    test: Agreement
    """On the recorded held-out rows: bundle against bundle."""
    golden: Agreement
    """On the golden requests: estimator against estimator."""
    model_is_identical: bool
    """The model's file is the same, byte for byte."""
    threshold: tuple[float | None, float | None]
    """Registered, and built anew."""
    differences: tuple[Difference, ...]
    """Of YAML, parameters, code and environment: what may explain that they differ."""


def reproduce(
    settings: Settings, experiment: "Experiment", version: int, *, tolerance: float, tell: Tell
) -> Reproduction:
    """Build a version anew and compare.

    Args:
        settings: where everything is kept.
        experiment: as it is now: its name, and where its YAML stands.
        version: in MLflow's registry.
        tolerance: largest difference of a prediction that counts as equal.
        tell: progress.

    Raises:
        ReproductionError: it cannot be built; with what is missing or changed.
        RegistryError, DataStoreError, SourceError, BundleError: a store does not answer, or holds
            something else than was registered.
    """
    from mlops_assets.commands import kept
    from mlops_assets.deployment import releases
    from mlops_assets.gateways.data_store import DataStore
    from mlops_assets.gateways.model_registry import ModelRegistry

    registry = ModelRegistry(settings.tracking_uri, settings.artifacts_url, settings.mlflow_url)
    tell("recorded", f"reading what MLflow holds of version {version}")
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        recorded = rebuild.read(registry, experiment, version, folder)
        fetched = releases.fetch(registry, experiment.model_name, version, folder / "registered")
        scratch = DataStore(str(folder / "data"), {})
        raw, where = rebuild.snapshot(settings, recorded, kept.store(settings), scratch, tell)
        training_set = rebuild.training_set(recorded, raw, kept.store(settings), scratch, tell)
        (folder / "rebuilt").mkdir()
        rebuild.bundle(recorded, training_set, scratch, folder / "rebuilt", tell)
        tell("compare", "asking both models about the held-out rows")
        return _compared(
            recorded,
            scratch.read_table(training_set.url),
            (fetched.folder, folder / "rebuilt"),
            where=where,
            tolerance=tolerance,
        )


def differences(recorded: Recorded, folder: Path) -> tuple[Difference, ...]:
    """Of YAML, parameters, code and environment, between now and then.

    Args:
        recorded: what is known of then.
        folder: whose commit is the code's now.
    """
    from mlops_assets.training import commit

    then = recorded.experiment
    found = [
        Difference(f"parameter {name}", str(recorded.parameters.get(name, "not given")), str(value))
        for name, value in then.training.parameters.items()
        if recorded.parameters.get(name, "not given") != value
    ]
    if recorded.estimator != then.training.estimator:
        found.append(Difference("estimator", recorded.estimator, then.training.estimator))
    compared = {
        "YAML as read": (recorded.tags.get("mlops.yaml_fingerprint", ""), then.fingerprint()),
        "code": (recorded.tags.get("mlops.code_version", ""), commit.describe(folder)),
    }
    before, now = _packages(recorded.environment), _packages(commit.environment())
    for name in sorted({*before, *now}):
        compared[name] = (before.get(name, "not recorded"), now.get(name, "not installed"))
    found += [Difference(what, a, b) for what, (a, b) in compared.items() if a != b]
    return tuple(found)


def _packages(environment: str) -> dict[str, str]:
    """Versions by package, of a text as `commit.environment` writes it."""
    pairs = (part.rpartition(" ") for part in environment.split(", ") if part)
    return {name: version for name, _, version in pairs}


def _compared(
    recorded: Recorded,
    rows: "pd.DataFrame",
    bundles: tuple[Path, Path],
    *,
    where: str,
    tolerance: float,
) -> Reproduction:
    """The registered bundle and the one built anew, on the held-out rows."""
    from mlops_assets.modeling.folds import SPLIT, TEST
    from mlops_assets.modeling.scoring import opened
    from mlops_assets.serving.bundle import read_golden

    registered, rebuilt = (opened(folder) for folder in bundles)
    test = rows[rows[SPLIT] == TEST].reset_index(drop=True)
    on_test = agreement(registered.outcome(test), rebuilt.outcome(test))
    on_golden = _golden(*(read_golden(folder) for folder in bundles))
    manifests = registered.scorer.manifest, rebuilt.scorer.manifest
    thresholds = manifests[0].threshold, manifests[1].threshold
    files = [one.files[one.model_file] for one in manifests]
    largest = max(on_test.max_difference, on_golden.max_difference)
    flips = on_test.label_flips + on_golden.label_flips
    verdict: Verdict = "differs"
    if largest == 0 and not flips and thresholds[0] == thresholds[1]:
        verdict = "exact"
    elif largest <= tolerance and not flips:
        verdict = "within tolerance"
    return Reproduction(
        experiment=recorded.experiment.name,
        version=recorded.version,
        verdict=verdict,
        tolerance=tolerance,
        data=where,
        test=on_test,
        golden=on_golden,
        model_is_identical=files[0] == files[1],
        threshold=thresholds,
        differences=differences(recorded, recorded.experiment.path.parent),
    )


def agreement(registered: "Outcome", rebuilt: "Outcome") -> Agreement:
    """How far two models differ on the same rows."""
    import numpy as np

    flips = 0
    if registered.probabilities is None or rebuilt.probabilities is None:
        off = np.abs(rebuilt.predicted - registered.predicted)
        off = off / np.maximum(1.0, np.abs(registered.predicted))
    else:
        off = np.abs(rebuilt.probabilities - registered.probabilities)
        flips = int((rebuilt.predicted != registered.predicted).sum())
    return Agreement(len(registered), float(off.max()), flips)


def _golden(registered: "Golden", rebuilt: "Golden") -> Agreement:
    """What the estimators themselves said of the golden requests, which are the same rows where the
    training set is the same."""
    import numpy as np

    from mlops_assets.commands.rebuild import ReproductionError

    if registered.records != rebuilt.records:
        raise ReproductionError(
            "the golden requests of the registered version are other rows than the same training "
            "set gives now: this program chooses them otherwise"
        )
    count = len(registered.records)
    if not registered.probabilities:
        then = np.asarray(registered.predictions, dtype=np.float64)
        off = np.abs(np.asarray(rebuilt.predictions, dtype=np.float64) - then)
        return Agreement(count, float((off / np.maximum(1.0, np.abs(then))).max()), 0)
    off = np.abs(np.asarray(rebuilt.probabilities) - np.asarray(registered.probabilities))
    pairs: Any = zip(registered.predictions, rebuilt.predictions, strict=True)
    return Agreement(count, float(off.max()), sum(a != b for a, b in pairs))
