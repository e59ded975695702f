"""The `deployment` section: where the champion is served."""

from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from mlops_assets.deployment import targets
from mlops_assets.deployment.targets.base import Target
from mlops_assets.experiment.spec import Spec, discover, kind_of, one_of

if TYPE_CHECKING:
    AnyTarget = Target
else:
    AnyTarget = one_of(discover(targets, Target))


class DeploymentSpec(Spec):
    """Where the champion is served."""

    targets: tuple[AnyTarget, ...] = Field(min_length=1)
    """Targets, one endpoint each."""

    @field_validator("targets")
    @classmethod
    def _check_kinds(cls, value: tuple[Target, ...]) -> tuple[Target, ...]:
        kinds = [kind_of(type(target)) for target in value]
        if twice := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
            raise ValueError(f"target kind {', '.join(twice)} stands twice; one endpoint per kind")
        return value
