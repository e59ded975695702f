"""Who is measured: what to install, how to start it, how to ask it and how to read its answer.

Each is started the way its documentation says, with one worker and without access log, and reads
the same scikit-learn model. Ours is started by its supervisor from a bundle, as a deployer does.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ours
from model import NAMES, NUMBERS, Batch, Trained, dataframe_split

SERVERS = Path(__file__).with_name("servers")
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WHYLOGS_NO_ANALYTICS": "1",
}
"""For every server: one thread on its one core, and nothing told to anybody."""


@dataclass(frozen=True)
class Seat:
    """Where one start of a contender happens."""

    python: Path
    """Interpreter of its environment; its other programs lie beside it."""
    folder: Path
    """Empty, for whatever it writes."""
    port: int
    trained: Trained

    def program(self, name):
        return self.python.with_name(name)


@dataclass(frozen=True)
class Contender:
    """A server and its dialect."""

    name: str
    packages: tuple[str, ...]
    """What its environment holds beside the model's libraries; none: it runs in ours."""
    command: Callable[[Seat], list]
    """The program with its arguments; may write files into the seat's folder first."""
    path: str
    body: Callable[[Batch], dict]
    answer: Callable[[dict], list]
    """Of a decoded response, the probability of the positive class of each row; for the echo,
    the values that were sent."""
    environment: Callable[[Seat], dict] = lambda seat: {}
    records: bool | None = None
    """It leaves profiles that must hold every row it was sent, or none of them."""

    def request(self, batch):
        """The bytes of one HTTP request."""
        body = json.dumps(self.body(batch), separators=(",", ":")).encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def mlflow(seat):
    options = ["--env-manager", "local", "--host", "127.0.0.1", "--workers", "1"]
    model = ["--model-uri", seat.trained.mlflow, "--port", seat.port]
    return [seat.program("mlflow"), "models", "serve", *options, *model]


def mlserver(implementation, uri):
    """MLServer over a folder with its two settings files, inference in the one process."""

    def command(seat):
        settings = {
            "host": "127.0.0.1",
            "http_port": seat.port,
            "grpc_port": seat.port + 1,
            "metrics_port": seat.port + 2,
            "parallel_workers": 0,
            "debug": False,
        }
        model = {
            "name": "bench",
            "implementation": implementation,
            "parameters": {"uri": str(uri(seat.trained))},
        }
        for name, content in (("settings", settings), ("model-settings", model)):
            (seat.folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        return [seat.program("mlserver"), "start", seat.folder]

    return command


def script(name):
    """A server written here, which takes the model and the port."""
    return lambda seat: [seat.python, SERVERS / name, seat.trained.joblib, seat.port]


def kserve(seat):
    options = ["--http_port", seat.port, "--workers", "1"]
    return [seat.python, SERVERS / "serve_kserve.py", seat.trained.joblib, *options]


def bentoml(seat):
    options = ["--working-dir", SERVERS, "--host", "127.0.0.1", "--port", seat.port]
    return [seat.program("bentoml"), "serve", "serve_bentoml:Bench", *options]


def echo(seat):
    return [sys.executable, SERVERS / "serve_echo.py", seat.port]


def found_by(python):
    """The environment's programs first on the path: MLflow starts uvicorn by its name."""
    return {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}


def instances(batch):
    return {"instances": batch.rows}


def open_inference(batch):
    """The Open Inference Protocol: one input per column, and the probabilities asked for."""
    size = len(batch.expected)
    return {
        "parameters": {"content_type": "pd"},
        "inputs": [
            {"name": name, "shape": [size, 1], "data": batch.columns[name], **kind(index)}
            for index, name in enumerate(NAMES)
        ],
        "outputs": [{"name": "predict_proba"}],
    }


def kind(index):
    if index < NUMBERS:
        return {"datatype": "FP64"}
    return {"datatype": "BYTES", "parameters": {"content_type": "str"}}


def predictions(answer):
    return answer["predictions"]


def last_of_pairs(answer):
    return [pair[-1] for pair in answer["predictions"]]


ALL = (
    Contender(
        "ours",
        (),
        ours.recorded,
        "/invocations",
        dataframe_split,
        lambda answer: [pair[-1] for pair in answer["probabilities"]],
        records=True,
    ),
    Contender(
        "ours-unrecorded",
        (),
        ours.unrecorded,
        "/invocations",
        dataframe_split,
        lambda answer: [pair[-1] for pair in answer["probabilities"]],
        records=False,
    ),
    Contender(
        "echo",
        (),
        echo,
        "/",
        lambda batch: {**dataframe_split(batch), "expected": batch.expected},
        lambda answer: answer["expected"],
    ),
    Contender(
        "mlflow",
        ("mlflow>=3.17,<3.18",),
        mlflow,
        "/invocations",
        dataframe_split,
        last_of_pairs,
        environment=lambda seat: found_by(seat.python),
    ),
    Contender(
        "mlserver-sklearn",
        ("mlserver", "mlserver-sklearn"),
        mlserver("mlserver_sklearn.SKLearnModel", lambda trained: trained.joblib),
        "/v2/models/bench/infer",
        open_inference,
        lambda answer: answer["outputs"][0]["data"][1::2],
    ),
    Contender(
        "mlserver-mlflow",
        ("mlserver", "mlserver-mlflow"),
        mlserver("mlserver_mlflow.MLflowRuntime", lambda trained: trained.mlflow),
        "/invocations",
        dataframe_split,
        last_of_pairs,
    ),
    Contender("kserve", ("kserve",), kserve, "/v1/models/bench:predict", instances, predictions),
    Contender(
        "bentoml",
        ("bentoml",),
        bentoml,
        "/predict",
        instances,
        lambda answer: answer,
        environment=lambda seat: {"BENCH_MODEL": str(seat.trained.joblib)},
    ),
    Contender(
        "litserve", ("litserve",), script("serve_litserve.py"), "/predict", instances, predictions
    ),
    Contender(
        "fastapi",
        ("fastapi", "uvicorn[standard]"),
        script("serve_fastapi.py"),
        "/predict",
        instances,
        predictions,
    ),
)
