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
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Probe(False, f"{url} does not answer: {error}", 0.0)
    milliseconds = answer.elapsed.total_seconds() * 1000
    if answer.status_code != 200:
        text = answer.text[:300]
        return Probe(False, f"{url} answers {answer.status_code}: {text}", milliseconds)
    try:
        body = answer.json()
        answered = int(body["version"])
        difference = _difference(golden, body)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        reason = f"{url} answers what no endpoint of ours would ({error!r}): {answer.text[:300]}"
        return Probe(False, reason, milliseconds)
    if answered != version:
        return Probe(False, f"version {answered} answers, not {version}", milliseconds)
    if difference:
        return Probe(False, difference, milliseconds)
    rows = len(golden.records)
    return Probe(True, f"{rows} golden requests answered as in training", milliseconds)


def _difference(golden: bundle.Golden, body: dict[str, Any]) -> str | None:
    """What of the answers is not as in training, in words; None when all is.

    Raises:
        ValueError, KeyError, TypeError: the answer is not of the form an endpoint gives.
    """
    rows = len(golden.records)
    if (found := len(body["predictions"])) != rows:
        return f"{found} answers to {rows} golden requests"
    if golden.probabilities:
        expected, answered = golden.probabilities, body["probabilities"]
        if body["predictions"] != list(golden.predictions):
            return "golden requests are answered with other labels than in training"
    else:
        expected = tuple((float(value),) for value in golden.predictions)
        answered = [[value] for value in body["predictions"]]
    distances = [
        abs(a - b) / max(1.0, abs(a))
        for before, now in zip(expected, answered, strict=True)
        for a, b in zip(before, now, strict=True)
    ]
    # Put so that a NaN among them is a difference too.
    if not all(distance <= TOLERANCE for distance in distances):
        return f"golden requests are answered {max(distances):.2g} away from training"
    return None
