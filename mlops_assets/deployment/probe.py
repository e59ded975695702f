"""Asks an endpoint the golden questions of its bundle. Knows HTTP, nothing of Dagster."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_assets.serving import bundle

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Probe:
    """What an endpoint answered."""

    passed: bool
    reason: str
    milliseconds: float
    """Time to the answer; 0 when there was none."""


def probe(url: str, *, version: int, bundle_folder: Path, timeout: float = 10.0) -> Probe:
    """Replay the golden requests against a live endpoint.

    Args:
        url: base URL of the endpoint.
        version: that must answer.
        bundle_folder: a verified copy of the bundle it should serve.
        timeout: seconds.
    """
    import httpx

    golden = bundle.read_golden(bundle_folder)
    try:
        answer = httpx.post(
            f"{url}/invocations",
            json={"dataframe_records": list(golden.records)},
            headers={"x-mlops-probe": "1"},
            timeout=timeout,
        )
    except httpx.HTTPError as error:
        return Probe(False, f"{url} does not answer: {error}", 0.0)
    milliseconds = answer.elapsed.total_seconds() * 1000
    if answer.status_code != 200:
        text = answer.text[:300]
        return Probe(False, f"{url} answers {answer.status_code}: {text}", milliseconds)
    body = answer.json()
    if int(body["version"]) != version:
        reason = f"version {body['version']} answers, not {version}"
        return Probe(False, reason, milliseconds)
    if difference := _difference(golden, body):
        return Probe(False, difference, milliseconds)
    rows = len(golden.records)
    return Probe(True, f"{rows} golden requests answered as in training", milliseconds)


def _difference(golden: bundle.Golden, body: dict[str, Any]) -> str | None:
    if golden.probabilities:
        expected, answered = golden.probabilities, body["probabilities"]
        if body["predictions"] != list(golden.predictions):
            return "golden requests are answered with other labels than in training"
    else:
        expected = tuple((float(value),) for value in golden.predictions)
        answered = [[value] for value in body["predictions"]]
    if len(expected) != len(answered):
        return f"{len(answered)} answers to {len(expected)} golden requests"
    worst = max(
        abs(a - b) / max(1.0, abs(a))
        for before, now in zip(expected, answered, strict=True)
        for a, b in zip(before, now, strict=True)
    )
    if worst > TOLERANCE:
        return f"golden requests are answered {worst:.2g} away from training"
    return None
