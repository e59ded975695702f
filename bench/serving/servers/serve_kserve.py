"""KServe's Python ModelServer: `python serve_kserve.py MODEL --http_port PORT`.

The server reads its own options, the port among them, from the command line when it is imported.
"""

import sys

from kserve import Model as KServeModel
from kserve import ModelServer
from scoring import Model


class Bench(KServeModel):
    def __init__(self, path):
        super().__init__("bench")
        self._model = Model(path)
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        return {"predictions": self._model.probabilities(payload["instances"])}


if __name__ == "__main__":
    path = sys.argv.pop(1)
    ModelServer(workers=1, enable_grpc=False).start([Bench(path)])
