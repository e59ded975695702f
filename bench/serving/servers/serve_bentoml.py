"""BentoML: `bentoml serve serve_bentoml:Bench`, the model's path in BENCH_MODEL."""

import os
from typing import Any

import bentoml
from scoring import Model


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Bench:
    def __init__(self):
        self._model = Model(os.environ["BENCH_MODEL"])

    @bentoml.api
    def predict(self, instances: list[list[Any]]) -> list[float]:
        return self._model.probabilities(instances)
