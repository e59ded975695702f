"""What versions on Lambda and SageMaker answer and refuse is judged as elsewhere, by what they
write to their logs and CloudWatch makes of it."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from mlops_assets.deployment.rollout import RolloutError
from mlops_assets.deployment.spec import RolloutSpec
from mlops_assets.gateways.telemetry import Telemetry
from mlops_assets.monitoring import rejections
from mlops_assets.monitoring.spec import DataQualitySpec
from mlops_assets_tests.builders import Built, make_bundle
from mlops_assets_tests.deployment import lambda_site, sagemaker_site
from mlops_assets_tests.deployment.deployer import calling
from mlops_assets_tests.deployment.sagemaker_site import ENDPOINT
from mlops_assets_tests.endpoints import until

pytestmark = pytest.mark.peer

CANARY = RolloutSpec(
    steps=(50,), bake_s=0, timeout_s=120, interval_s=1, min_requests=20, slow_ms=10_000
)
MEMORY = {"memory_mb": 2048}


@pytest.fixture(scope="module")
def one_sided(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """It answers everything alike, quickly and without an error, its golden requests with it."""
    return make_bundle(tmp_path_factory.mktemp("one-sided") / "bundle", threshold=1e-9)


@pytest.fixture
def sagemaker(tmp_path: Path) -> Iterator[sagemaker_site.Site]:
    with sagemaker_site.running(tmp_path) as found:
        yield found


def by_url(url: str, records: list[dict[str, Any]]) -> Callable[[Counter[str]], None]:
    """A caller of a function; who answers is counted."""

    def call(seen: Counter[str]) -> None:
        with httpx.Client(timeout=60, trust_env=False) as asking:
            answer = asking.post(f"{url}/invocations", json={"instances": records})
        good = answer.status_code == 200
        seen[answer.json()["version"] if good else str(answer.status_code)] += 1

    return call


@pytest.mark.usefixtures("packed")
def test_a_function_that_answers_all_alike_is_rolled_back_and_the_same_model_is_not(
    site: lambda_site.Site, one: Built, one_sided: Built
) -> None:
    live = site.deploy(one, 1, **MEMORY).endpoint
    with calling(by_url(live.url, one.records(20))) as seen:
        with pytest.raises(RolloutError, match=r"label=(No|Yes) in \S+ of \d+, beside") as refused:
            site.deploy(one_sided, 2, CANARY, **MEMORY)
        assert "more than the 20.00% allowed. Version 1 still serves" in str(refused.value)
        assert set(seen) == {"1", "2"}
        (step,) = site.deploy(one, 3, CANARY, **MEMORY).steps
    print(refused.value)
    assert step.candidate.rows
    # Two sums, asked for one after the other while callers go on.
    assert abs(step.candidate.rows - 20 * step.candidate.requests) <= 40
    assert step.candidate.predictions.keys() == step.stable.predictions.keys()
    assert len(step.candidate.predictions) == 12, "of two labels, and of ten bounds"


@pytest.mark.usefixtures("packed")
def test_requests_that_a_function_refuses_are_counted(site: lambda_site.Site, one: Built) -> None:
    live = site.deploy(one, 1, **MEMORY).endpoint
    before = site.telemetry(1)
    seen: Counter[str] = Counter()
    for records in (one.records(3), one.records(4), [{"tenure": "long"}], [{}], [3]):
        by_url(live.url, records)(seen)
    assert seen == {"1": 2, "400": 3}
    until(lambda: site.telemetry(1).refused.get("bad_row", 0) > before.refused.get("bad_row", 0))
    told = site.telemetry(1)
    assert (told.rows, told.requests) == ((before.rows or 0) + 7, before.requests + 5)
    found = counted(told, before)
    assert (found.requests, sum(found.by_reason.values()), found.passed) == (5, 3, False)
    assert counted(told, told).reason == "no requests since the last look"
    site.server.fail("ListMetrics", "AccessDenied", status=403)
    assert "aws_lambda does not tell how many requests" in counted(site.telemetry(1)).reason


def counted(told: Telemetry, before: Telemetry | None = None) -> rejections.Rejected:
    """What the check of data quality counts."""
    last = {} if before is None else {told.target: before}
    return rejections.judge([told], last, DataQualitySpec(false_alarms=0.2))


def test_a_variant_that_answers_all_alike_is_rolled_back_and_the_same_model_is_not(
    sagemaker: sagemaker_site.Site, one: Built, one_sided: Built
) -> None:
    sagemaker.deploy(one, 1)

    def call(seen: Counter[str]) -> None:
        seen[str(sagemaker.ask(one, rows=20)["version"])] += 1

    with calling(call) as seen:
        with pytest.raises(RolloutError, match=r"label=(No|Yes) in \S+ of \d+, beside") as refused:
            sagemaker.deploy(one_sided, 2, CANARY)
        assert "more than the 20.00% allowed. Version 1 still serves" in str(refused.value)
        assert set(seen) == {"1", "2"}
        assert sagemaker.is_served_by(1)
        (step,) = sagemaker.deploy(one, 3, CANARY).steps
    print(refused.value)
    assert step.candidate.rows
    assert step.candidate.rows % 20 == 0
    assert len(step.candidate.predictions) == 12


def test_requests_that_a_container_refuses_are_counted(
    sagemaker: sagemaker_site.Site, one: Built
) -> None:
    sagemaker.deploy(one, 1)
    assert sagemaker.telemetry(1).rows == 0, "our own probes are none"
    for body in (b'{"instances": [{}]}', b'{"instances": [{"tenure": "long"}]}', b"[3]"):
        with pytest.raises(ClientError, match="400"):
            sagemaker.runtime.invoke_endpoint(
                EndpointName=ENDPOINT, ContentType="application/json", Body=body
            )
    sagemaker.ask(one, rows=5)
    until(lambda: sum(sagemaker.telemetry(1).refused.values()) == 3, 30)
    told = sagemaker.telemetry(1)
    assert told.rows == 5
    found = counted(told)
    assert sum(found.by_reason.values()) == 2, "the third was refused for its dialect"
    assert found.requests == told.requests
