"""Whether an endpoint answers, with the right version and the right predictions."""

from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg

from mlops_assets import vocabulary as names
from mlops_assets.deployment.probe import probe
from mlops_assets.deployment.targets.base import Target, TargetContext
from mlops_assets.experiment.model import Experiment
from mlops_assets.experiment.spec import kind_of
from mlops_assets.gateways.model_registry import ModelRegistry
from mlops_assets.gateways.records import Endpoint


def build(experiment: Experiment) -> dg.Definitions:
    targets = experiment.deployment.targets
    return dg.Definitions(asset_checks=[_answers_probe(experiment, one) for one in targets])


def _answers_probe(experiment: Experiment, target: Target) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        name=names.ANSWERS_PROBE,
        asset=names.endpoint_key(experiment.name, kind_of(type(target))),
        description="The live endpoint answers the golden requests of the deployed version with "
        "the predictions of training time.",
    )
    @names.inspected_once
    def answers_probe(
        endpoint: Endpoint,
        model_registry: dg.ResourceParam[ModelRegistry],
        target_context: dg.ResourceParam[TargetContext],
    ) -> dg.AssetCheckResult:
        tags = model_registry.version(experiment.model_name, endpoint.version).tags
        with TemporaryDirectory() as folder:
            path = model_registry.download(tags["mlops.bundle_uri"], Path(folder))
            result = probe(
                endpoint.url,
                version=endpoint.version,
                bundle_folder=path,
                key=target.key(target_context),
            )
        return dg.AssetCheckResult(
            passed=result.passed,
            description=result.reason,
            metadata={
                "milliseconds": round(result.milliseconds, 1),
                "url": dg.MetadataValue.url(endpoint.url),
            },
        )

    return answers_probe
