"""Which versions endpoints need: those that are live, served before, or are being rolled out; and
where versions have container images of their own."""

from mlops_assets.deployment.journal import Journal
from mlops_assets.deployment.targets.base import TargetContext
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.images import VersionImages


def versions_in_use(
    experiment: Experiment, store: DataStore, context: TargetContext
) -> dict[int, str]:
    """What the endpoints of the experiment do with a version, in words, by version.

    Raises:
        TargetError: a target cannot tell what is there.
        DataStoreError: it is not known whether a rollout is under way.
    """
    said: dict[int, list[str]] = {}
    for target in experiment.deployment.targets:
        kind = kind_of(type(target))
        there = target.observe(experiment.name, context)
        if there is not None:
            said.setdefault(there.version, []).append(f"{there.state} on {kind}")
            for version in there.traffic:
                said.setdefault(int(version), []).append(f"has traffic on {kind}")
            if there.previous_version is not None:
                said.setdefault(there.previous_version, []).append(f"served before on {kind}")
        begun = Journal(store, experiment.name, kind).read()
        if begun is not None and not begun.ended:
            said.setdefault(begun.version, []).append(f"is being rolled out on {kind}")
    return {version: "; ".join(dict.fromkeys(words)) for version, words in said.items()}


def images_of_versions(experiment: Experiment, context: TargetContext) -> tuple[VersionImages, ...]:
    """Of the targets that want an image for each version."""
    found = (target.images(context) for target in experiment.deployment.targets)
    return tuple(images for images in found if images is not None)
