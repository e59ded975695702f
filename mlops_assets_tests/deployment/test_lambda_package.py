"""The Lambda package: the same bytes each time, small enough, for its platform, and it runs."""

import json
import os
import subprocess
import sys
import time
import tomllib
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlops_assets.deployment import distributions
from mlops_assets.deployment.aws_lambda import package as lambda_package
from mlops_assets.deployment.distributions import PackageError, Platform
from mlops_assets.monitoring import profiles
from mlops_assets.serving import bundle
from mlops_assets.serving.bundle import BundleError
from mlops_assets.serving.client import Client
from mlops_assets_tests.builders import make_bundle
from mlops_assets_tests.peers import aws, aws_lambda, emulator

CODE = "code-of-functions"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("built") / "bundle")


@pytest.fixture(scope="module")
def package(built, tmp_path_factory):
    target = tmp_path_factory.mktemp("package") / "function.zip"
    return lambda_package.build(target, built.folder, where=Platform.here(), stores=("s3",))


def test_the_package_is_small_and_holds_what_it_should(package, built):
    with zipfile.ZipFile(package.path) as archive:
        names = archive.namelist()
        assert names == sorted(names)
        assert {entry.date_time for entry in archive.infolist()} == {lambda_package.YEAR}
        assert archive.read("bundle/manifest.json") == (built.folder / "manifest.json").read_bytes()
        assert sum(entry.file_size for entry in archive.infolist()) == package.unzipped
    assert package.unzipped < 180e6
    assert package.uploads_directly
    assert package.compiled
    assert "mlops_assets/serving/__pycache__/aws_lambda.cpython-311.pyc" in names or (
        sys.version_info[:2] != (3, 11)
    )
    assert not [n for n in names if n.startswith(("mlops_assets/gateways", "onnxruntime/tools"))]
    assert not [n for n in names if n.endswith((".pyi", "RECORD", "INSTALLER")) or "/tests/" in n]
    print(f"{package.size / 1e6:.0f} MB zip, {package.unzipped / 1e6:.0f} MB unpacked")


def test_without_a_store_it_is_smaller_still(package):
    more = {*distributions.needed("onnx", stores=["s3"])} - {*distributions.needed("onnx")}
    files = [file for name in more for file in distributions._installed(name).files or []]
    tops = {file.parts[0] for file in files}
    with zipfile.ZipFile(package.path) as archive:
        kept = [e for e in archive.infolist() if e.filename.split("/")[0] not in tops]
    assert sum(entry.file_size for entry in kept) < 150e6


def test_the_same_input_makes_the_same_bytes(package, built, tmp_path):
    where = Platform.here()
    again = lambda_package.build(tmp_path / "f.zip", built.folder, where=where, stores=["s3"])
    assert (again.sha256, again.size) == (package.sha256, package.size)
    assert again.path.read_bytes() == package.path.read_bytes()


def test_a_broken_bundle_is_not_packed(built, tmp_path):
    copied = make_bundle(tmp_path / "bundle")
    (copied.folder / copied.manifest.model_file).write_bytes(b"other")
    with pytest.raises(BundleError):
        lambda_package.build(tmp_path / "f.zip", copied.folder, where=Platform.here())


def test_what_is_too_large_is_refused_with_the_sizes(built, tmp_path, monkeypatch):
    monkeypatch.setattr(lambda_package, "LARGEST", 1_000_000)
    with pytest.raises(PackageError, match=r"takes 1: .*onnxruntime \d+ MB, "):
        lambda_package.build(tmp_path / "f.zip", built.folder, where=Platform.here())


def test_an_older_c_library_is_refused_before_lambda_does(built, tmp_path):
    old = replace(Platform.here(), glibc=lambda_package.GLIBC["python3.11"])
    with pytest.raises(PackageError, match=r"glibc 2\.26"):
        lambda_package.build(tmp_path / "f.zip", built.folder, where=old)


@pytest.mark.parametrize(
    ("tag", "runs"),
    [
        ("py3-none-any", True),
        ("cp311-cp311-manylinux_2_28_x86_64", True),
        ("cp311-cp311-manylinux2014_x86_64", True),
        ("cp311-cp311-manylinux_2_35_x86_64", False),
        ("cp311-cp311-manylinux_2_28_aarch64", False),
        ("cp311-cp311-musllinux_1_2_x86_64", False),
    ],
)
def test_a_wheel_runs_where_its_machine_and_c_library_are(tag, runs):
    assert Platform("x86_64", "3.12", 34).runs([tag]) == runs


def test_a_runtime_names_its_distributions():
    onnx = distributions.needed("onnx")
    assert "onnxruntime" in onnx
    assert not {"scikit-learn", "sympy", "s3fs"} & {*onnx}
    assert {"scikit-learn", "skops", "scipy", "pandas"} <= {*distributions.needed("sklearn")}
    assert {"s3fs", "botocore"} <= {*distributions.needed("onnx", stores=["s3", "file"])}
    with pytest.raises(PackageError, match="no-such-thing is not installed"):
        distributions.collect(["no-such-thing"], Path("nowhere"), Platform.here())


def test_what_is_packed_is_what_every_endpoint_needs():
    """The serving image's list, and what only a function needs."""
    document = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    group = {*document["dependency-groups"]["endpoint"], "mangum", "typing-extensions"}
    assert {*distributions.SERVING, "onnxruntime"} == group


@pytest.mark.peer
def test_another_platform_gets_wheels_of_the_same_versions(tmp_path):
    machine = "arm64" if Platform.here().machine == "x86_64" else "x86_64"
    where = lambda_package.platform_of("python3.12", machine)
    try:
        distributions.collect(["msgspec", "mangum"], tmp_path, where)
    except PackageError as error:
        pytest.skip(str(error))
    version = distributions._installed("msgspec").version
    assert (tmp_path / f"msgspec-{version}.dist-info" / "METADATA").exists()
    (library,) = (tmp_path / "msgspec").glob("*.so")
    assert distributions.WHEEL_MACHINES[machine] in library.name


def test_building_needs_nothing_heavy():
    """The module itself; what it packs is only read."""
    code = "import sys, mlops_assets.deployment.aws_lambda.package; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ
    )
    assert not {"numpy", "onnxruntime", "dagster", "boto3"} & {*done.stdout.split()}


@pytest.fixture(scope="module")
def function(package, built):
    """The package as a function with a URL, on a server where it records to S3."""
    try:
        emulator.fetched()
    except emulator.UnavailableError as error:
        pytest.skip(str(error))
    with aws.running() as server, aws_lambda.running(server, settling=0.0) as peer:
        client = server.client("lambda")
        server.s3.create_bucket(CODE)
        server.s3.put(CODE, "function.zip", package.path.read_bytes())
        recording = {"profiles_url": f"s3://{CODE}/profiles", "window_seconds": 3600}
        made = client.create_function(
            FunctionName="churn",
            Runtime="python3.12",
            Handler=lambda_package.HANDLER,
            Role=server.role("churn"),
            Code={"S3Bucket": CODE, "S3Key": "function.zip"},
            MemorySize=1024,
            Timeout=30,
            Environment={
                "Variables": {
                    "MLOPS_BUNDLE_DIGEST": built.digest,
                    "MLOPS_VERSION": "7",
                    "MLOPS_RECORDING": json.dumps(recording),
                }
            },
        )
        assert made["CodeSha256"] == package.sha256
        yield server, peer, client


@pytest.mark.peer
def test_the_package_answers_its_golden_requests_on_lambda(function, built):
    _, peer, client = function
    golden = bundle.read_golden(built.folder)
    body = json.dumps({"instances": golden.records})
    times = []
    for _ in range(20):
        began = time.perf_counter()
        answer = client.invoke(FunctionName="churn", Payload=body)
        times.append(time.perf_counter() - began)
        content = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, content
        assert content["predictions"] == list(golden.predictions)
        assert np.allclose(content["probabilities"], golden.probabilities)
    assert peer.starts == 1
    print(f"cold {times[0]:.2f} s, warm {1000 * sorted(times[1:])[len(times) // 2]:.1f} ms")


@pytest.mark.peer
def test_our_client_speaks_to_its_url_and_its_profiles_arrive_in_s3(function, built):
    server, _, client = function
    url = client.create_function_url_config(FunctionName="churn", AuthType="NONE")["FunctionUrl"]
    for action in ("InvokeFunctionUrl", "InvokeFunction"):
        client.add_permission(
            FunctionName="churn", StatementId=action, Action=f"lambda:{action}", Principal="*"
        )
    with Client(url.rstrip("/")) as asking:
        answer = asking.predict(built.records(4))
        assert (answer.model, answer.version) == ("churn", "7")
        assert asking.ready()
    s3 = server.s3_client()
    found = s3.list_objects_v2(Bucket=CODE, Prefix="profiles/").get("Contents", [])
    read = [s3.get_object(Bucket=CODE, Key=one["Key"])["Body"].read() for one in found]
    assert sum(profiles.rows(profiles.deserialize(one)) for one in read) > 0
