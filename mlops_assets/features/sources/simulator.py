"""tmp"""
from typing import Literal
from mlops_assets.features.sources.base import Source, SourceContext
class Simulator(Source):
    kind: Literal["simulator"]
    def read(self, context): ...
    def location(self, context): ...
