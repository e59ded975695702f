"""Calls of SageMaker endpoints: routed by weight or by name, answered by containers, captured."""

import base64
import http.client
import json
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mlops_assets_tests.peers.aws import Answer, AwsError
from mlops_assets_tests.peers.aws_call import Call
from mlops_assets_tests.peers.s3 import REGION

if TYPE_CHECKING:
    from mlops_assets_tests.peers.sagemaker import SageMaker
    from mlops_assets_tests.peers.sagemaker_endpoint import Fleet

SERVING = ("InService", "Updating", "UpdateRollbackFailed", "RollingBack")
LARGEST = 25 * 1024 * 1024
LARGEST_SERVERLESS = 4 * 1024 * 1024
PASSED_ON = ("content-type", "accept", "x-amzn-sagemaker-")
PATIENCE = 60.0


class Runtime:
    """InvokeEndpoint of one server."""

    def __init__(self, peer: "SageMaker") -> None:
        self._peer = peer
        peer.aws.answers["sagemaker-runtime", "InvokeEndpoint"] = self.invoke

    def invoke(self, call: Call) -> Answer:
        name = call.parameters["EndpointName"]
        target = call.parameters.get("TargetVariant")
        with self._peer.lock:
            endpoint = self._peer.endpoints.get(name)
            if endpoint is None or endpoint.status not in SERVING:
                raise _refused(f"Endpoint {name} of account {self._peer.aws.account} not found.")
            dice, toss = self._peer.random.random(), self._peer.random.random()
            chosen = endpoint.chosen(target, dice, toss)
            if chosen is None:
                raise _refused(f"Variant {target} not found for Request")
            variant, fleet = chosen
            fleet.calls += 1
        try:
            return self._answer(call, variant, fleet)
        finally:
            with self._peer.lock:
                fleet.calls -= 1

    def _answer(self, call: Call, variant: str, fleet: "Fleet") -> Answer:
        name = call.parameters["EndpointName"]
        serverless = "ServerlessConfig" in fleet.variants[variant].settings
        if len(call.body) > (LARGEST_SERVERLESS if serverless else LARGEST):
            raise _refused("the request body exceeds the limit")
        container = fleet.variants[variant].container
        assert container is not None
        headers = {n: v for n, v in call.headers.items() if n.startswith(PASSED_ON)}
        began = time.monotonic()

        def count(status: int) -> None:
            self._peer.metrics.count(name, variant, status, time.monotonic() - began)

        try:
            status, said, body = container.ask(
                "POST", "/invocations", call.body, headers, timeout=PATIENCE
            )
        except (OSError, http.client.HTTPException) as error:
            count(0)
            message = (
                "Your invocation timed out while waiting for a response from container primary."
            )
            raise _failed(0, message, self._log(name, variant)) from error
        count(status)
        if status >= 300:
            text = body.decode(errors="replace")
            raise _failed(status, text, self._log(name, variant))
        self._capture(call, fleet.capture, f"{name}/{variant}", said, body)
        passed = {
            "Content-Type": said.get("content-type", "application/json"),
            "Content-Length": str(len(body)),
            "x-Amzn-Invoked-Production-Variant": variant,
            "x-amzn-RequestId": call.id,
        }
        attributes = said.get("x-amzn-sagemaker-custom-attributes")
        if attributes is not None:
            passed["X-Amzn-SageMaker-Custom-Attributes"] = attributes
        return Answer(200, tuple(passed.items()), body)

    def _log(self, name: str, variant: str) -> str:
        place = f"log-group:/aws/sagemaker/Endpoints/{name}:log-stream:{variant}"
        return f"arn:aws:logs:{REGION}:{self._peer.aws.account}:{place}"

    def _capture(
        self, call: Call, capture: Mapping[str, Any], place: str, said: dict[str, str], body: bytes
    ) -> None:
        """A file of captured data, as SageMaker writes it: here one per call, at once."""
        sample = capture.get("InitialSamplingPercentage", 0)
        if (
            not capture.get("EnableCapture", bool(capture))
            or sample <= 100 * self._peer.random.random()
        ):
            return
        modes = {one["CaptureMode"] for one in capture["CaptureOptions"]}
        both = "InputAndOutput" in modes
        content: dict[str, Any] = {}
        headers = capture.get("CaptureContentTypeHeader") or {}
        if both or "Input" in modes:
            kind = call.headers.get("content-type", "")
            content["endpointInput"] = _captured("INPUT", kind, call.body, headers)
        if both or "Output" in modes:
            kind = said.get("content-type", "")
            content["endpointOutput"] = _captured("OUTPUT", kind, body, headers)
        now = datetime.now(UTC)
        event = {"eventId": str(uuid.uuid4()), "inferenceTime": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
        if attributes := call.headers.get("x-amzn-sagemaker-custom-attributes"):
            event["customAttributes"] = [attributes]
        if "InferenceId" in call.parameters:
            event["inferenceId"] = call.parameters["InferenceId"]
        line = {"captureData": content, "eventMetadata": event, "eventVersion": "0"}
        url = urlsplit(capture["DestinationS3Uri"])
        folder = f"{url.path.strip('/')}/{place}/{now:%Y/%m/%d/%H}".lstrip("/")
        key = f"{folder}/{now:%M-%S}-{now.microsecond // 1000:03}-{uuid.uuid4()}.jsonl"
        body_written = (json.dumps(line) + "\n").encode()
        self._peer.aws.client("s3").put_object(Bucket=url.netloc, Key=key, Body=body_written)


def _captured(mode: str, kind: str, body: bytes, headers: Mapping[str, Any]) -> dict[str, str]:
    bare = kind.partition(";")[0].strip()
    said = {"observedContentType": kind, "mode": mode}
    if bare in headers.get("CsvContentTypes", []):
        return {**said, "data": body.decode(), "encoding": "CSV"}
    if bare in headers.get("JsonContentTypes", []):
        return {**said, "data": body.decode(), "encoding": "JSON"}
    return {**said, "data": base64.b64encode(body).decode(), "encoding": "BASE64"}


def _refused(message: str) -> AwsError:
    return AwsError("ValidationError", message, 400)


def _failed(status: int, message: str, log: str) -> AwsError:
    kind = "client error" if 400 <= status < 500 else "server error"
    whole = f'Received {kind} ({status}) from primary with message "{message}". See {log}.'
    return AwsError(
        "ModelError",
        whole,
        424,
        OriginalStatusCode=status,
        OriginalMessage=message,
        LogStreamArn=log,
    )
