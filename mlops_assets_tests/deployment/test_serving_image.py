"""The serving image, as Docker, SageMaker and Kubernetes start it."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from mlops_assets.serving.client import Client
from mlops_assets_tests.builders import Built, make_bundle
from mlops_assets_tests.endpoints import until
from mlops_assets_tests.peers import s3 as s3_peer
from mlops_assets_tests.peers.containers import Container, Containers

pytestmark = [pytest.mark.containers, pytest.mark.peer]

PLATFORM = ("dagster", "mlflow", "pandas", "sklearn", "scipy", "matplotlib", "optuna", "boto3")
TOOLS = ("pip", "pip3", "gcc", "cc", "g++", "make", "cargo")


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Built:
    return make_bundle(readable(tmp_path_factory.mktemp("one")) / "bundle")


def readable(folder: Path) -> Path:
    """For user 10001, which pytest's folders are not."""
    for path in (folder, *folder.parents[:2]):
        path.chmod(path.stat().st_mode | 0o055)
    return folder


def mounted(built: Built) -> tuple[str, ...]:
    return (f"--volume={built.folder}:/opt/ml/model:ro",)


def wait_ready(container: Container) -> str:
    """Its URL, once it answers."""

    def ready() -> bool:
        try:
            return httpx.get(f"{container.url}/ping", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    try:
        until(ready, 60)
    except TimeoutError:
        raise AssertionError(container.logs) from None
    return container.url


@pytest.fixture(scope="module")
def served(containers: Containers, serving_image: str, one: Built) -> Iterator[Container]:
    """As SageMaker starts it: the word `serve`, the model in its place."""
    variables = {"MLOPS_BUNDLE_DIGEST": one.digest, "MLOPS_VERSION": "7"}
    with containers.started(serving_image, "serve", options=mounted(one), **variables) as started:
        wait_ready(started)
        yield started


def test_it_answers_with_its_version(served, one):
    with Client(served.url) as client:
        answer = client.predict(one.records(3))
        assert (answer.model, answer.version) == ("churn", "7")
    body = {"instances": one.records(3)}
    probabilities = httpx.post(f"{served.url}/invocations", json=body).json()["probabilities"]
    assert probabilities == pytest.approx(one.expected(3))


def test_it_has_no_rights_and_nothing_to_write_to(served):
    assert served.execute("id", "-u").strip().splitlines()[-1] == "10001"
    status = served.execute("cat", "/proc/1/status")
    assert "CapEff:\t0000000000000000" in status
    for path in ("/opt/serving/x", "/opt/ml/x", "/etc/x", "/x"):
        assert "Read-only file system" in served.execute("touch", path)


def test_it_holds_neither_the_platform_nor_tools(served):
    program = (
        "import importlib.util as u, shutil, sys; "
        f"print([n for n in {(*PLATFORM, 'pip', 'setuptools')!r} if u.find_spec(n)], "
        f"[t for t in {TOOLS!r} if shutil.which(t)])"
    )
    assert served.execute("python", "-c", program).splitlines()[-1] == "[] []"


def test_its_health_check_and_labels(containers, serving_image, served):
    (image,) = json.loads(containers.run("image", "inspect", serving_image))
    content = image["Config"]
    check = (content.get("Healthcheck") or image["Healthcheck"])["Test"]
    assert check[0] == "CMD"
    assert served.execute(*check[1:]).strip() == ""
    assert content["User"] == "10001:10001"
    labels = {name.rpartition(".")[2]: value for name, value in content["Labels"].items()}
    assert labels["title"] == "mlops-serving"
    assert (labels["version"], labels["revision"]) == ("0.0.test", "0" * 40)


def test_a_signal_ends_it_after_what_is_owed(containers, serving_image, one):
    with containers.started(serving_image, options=mounted(one)) as started:
        url = wait_ready(started)
        with httpx.Client(base_url=url) as open_connection:
            body = {"instances": one.records(1)}
            assert open_connection.post("/invocations", json=body).status_code == 200
            containers.run("kill", "--signal=TERM", started.name)
            until(lambda: open_connection.get("/ping").headers.get("connection") == "close", 2)
        assert started.wait() == 0
        assert "stopped" in started.logs


def test_another_bundle_than_the_one_asked_for_ends_it(containers, serving_image, one):
    variables = {"MLOPS_BUNDLE_DIGEST": "0" * 64}
    with containers.started(serving_image, options=mounted(one), **variables) as started:
        assert started.wait() == 1
        assert f"{'0' * 64} was to be served" in started.logs
        assert "Traceback" not in started.logs


def test_without_a_model_it_says_so(containers, serving_image):
    with containers.started(serving_image, "serve") as started:
        assert started.wait() == 1
        assert "/opt/ml/model is no bundle" in started.logs


def test_what_only_the_platform_can_execute_is_refused(containers, serving_image, tmp_path):
    built = make_bundle(readable(tmp_path) / "bundle", executed_by="sklearn")
    with containers.started(serving_image, options=mounted(built)) as started:
        assert started.wait() == 1
        assert "asks for runtime 'sklearn', which needs skops" in started.logs


def test_a_model_can_be_baked_in(containers, serving_image, one, tmp_path):
    image = f"{serving_image}-baked"
    more = {"BUNDLE_DIGEST": one.digest, "MODEL_VERSION": "9"}
    containers.build(image, tmp_path, bundle=one.folder, **more)
    with containers.started(image) as started, Client(wait_ready(started)) as client:
        assert client.predict(one.records(1)).version == "9"


def test_a_damaged_model_cannot_be_baked_in(containers, serving_image, one, tmp_path):
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "manifest.json").write_text("{}")
    (tmp_path / "context").mkdir()
    with pytest.raises(RuntimeError, match="does not name the bundle's format"):
        containers.build(f"{serving_image}-damaged", tmp_path / "context", bundle=damaged)


def test_it_fetches_from_s3_and_records_there(containers, serving_image, one):
    """On this machine's network, because that is where the store is."""
    with ExitStack() as stack:
        s3 = stack.enter_context(s3_peer.running())
        s3.create_bucket("models")
        for path in one.folder.iterdir():
            s3.put("models", f"churn/7/{path.name}", path.read_bytes())
        port = free_port()
        recording = {"profiles_url": "s3://models/profiles", "window_seconds": 3600}
        started = stack.enter_context(
            containers.started(
                serving_image,
                options=("--network=host",),
                MLOPS_HOST="127.0.0.1",
                MLOPS_PORT=str(port),
                MLOPS_BUNDLE="s3://models/churn/7",
                MLOPS_BUNDLE_DIGEST=one.digest,
                MLOPS_VERSION="7",
                MLOPS_RECORDING=json.dumps(recording),
                AWS_ENDPOINT_URL=s3.endpoint,
                AWS_ACCESS_KEY_ID=s3_peer.KEY,
                AWS_SECRET_ACCESS_KEY=s3_peer.SECRET,
                AWS_DEFAULT_REGION=s3_peer.REGION,
            )
        )
        url = f"http://127.0.0.1:{port}"
        with Client(url) as client:
            until(lambda: "ready after" in started.logs, 60)
            assert client.predict(one.records(3)).version == "7"
        assert started.stop() == 0
        found = s3.client().list_objects_v2(Bucket="models", Prefix="profiles/")
        assert found["KeyCount"] == 1, started.logs


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
