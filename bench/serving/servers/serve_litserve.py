"""LitServe: `python serve_litserve.py MODEL PORT`."""

import sys

import litserve
from scoring import Model


class Bench(litserve.LitAPI):
    def __init__(self, path):
        super().__init__()
        self._path = path

    def setup(self, device):
        self._model = Model(self._path)

    def decode_request(self, request):
        return request["instances"]

    def predict(self, rows):
        return self._model.probabilities(rows)

    def encode_response(self, output):
        return {"predictions": output}


if __name__ == "__main__":
    server = litserve.LitServer(Bench(sys.argv[1]), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[2]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
