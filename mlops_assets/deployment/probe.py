"""Asks a version the golden questions of its bundle. Knows what is right, not how it is asked."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_assets.deployment.targets.base import TargetError
from mlops_assets.serving import bundle
from mlops_assets.serving.client import Answer, EndpointError

TOLERANCE = 1e-6

Ask = Callable[[Sequence[dict[str, Any]]], Answer]
"""Records to what an endpoint says of them."""


@dataclass(frozen=True)
class Probe:
    """What a version answered."""

    passed: bool
    reason: str
    milliseconds: float
    """Time to the answer; 0 when there was none."""


def probe(ask: Ask, *, version: int, bundle_folder: Path) -> Probe:
    """Replay the golden requests.

    Args:
        ask: the endpoint.
        version: that must answer.
        bundle_folder: a verified copy of the bundle it should serve.
    """
    golden = bundle.read_golden(bundle_folder)
    started = time.perf_counter()
    try:
        answer = ask(golden.records)
    except EndpointError as error:
        waited = 0.0 if error.status is None else time.perf_counter() - started
        return Probe(False, str(error), waited * 1000)
    except TargetError as error:
        return Probe(False, str(error), 0.0)
    milliseconds = (time.perf_counter() - started) * 1000
    if answer.version != str(version):
        return Probe(False, f"version {answer.version} answers, not {version}", milliseconds)
    try:
        difference = _difference(golden, answer)
    except (ValueError, TypeError) as error:
        return Probe(False, f"it answers what no endpoint of ours would: {error!r}", milliseconds)
    if difference:
        return Probe(False, difference, milliseconds)
    rows = len(golden.records)
    return Probe(True, f"{rows} golden requests answered as in training", milliseconds)


def _difference(golden: bundle.Golden, answer: Answer) -> str | None:
    """What of the answers is not as in training, in words; None when all is.

    Raises:
        ValueError, TypeError: the answer is not of the form an endpoint gives.
    """
    rows = len(golden.records)
    if (found := len(answer.predictions)) != rows:
        return f"{found} answers to {rows} golden requests"
    if golden.probabilities:
        expected, answered = golden.probabilities, answer.probabilities
        if answer.predictions != list(golden.predictions):
            return "golden requests are answered with other labels than in training"
    else:
        expected = tuple((float(value),) for value in golden.predictions)
        answered = [[value] for value in answer.predictions]
    distances = [
        abs(a - b) / max(1.0, abs(a))
        for before, now in zip(expected, answered, strict=True)
        for a, b in zip(before, now, strict=True)
    ]
    # Put so that a NaN among them is a difference too.
    if not all(distance <= TOLERANCE for distance in distances):
        return f"golden requests are answered {max(distances):.2g} away from training"
    return None
