"""tmp"""
from typing import Literal
from mlops_assets.deployment.targets.base import Target
class Local(Target):
    kind: Literal["local"]
