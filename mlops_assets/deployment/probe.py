"""Asks a version the golden questions of its bundle. Knows what is right, not how it is asked."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_assets.deployment.breach import NO_ANSWER, Breach, Problem
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
    breach: Breach | None = None
    """Where it did not pass."""


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
        if error.status is None:
            return Probe(False, str(error), 0.0, NO_ANSWER)
        waited = (time.perf_counter() - started) * 1000
        return Probe(False, str(error), waited, Breach(f"HTTP {error.status}", "answers"))
    except TargetError as error:
        return Probe(False, str(error), 0.0, NO_ANSWER)
    milliseconds = (time.perf_counter() - started) * 1000
    if answer.version != str(version):
        said = f"version {answer.version} answers, not {version}"
        other = Breach(f"version {answer.version}", f"version {version}")
        return Probe(False, said, milliseconds, other)
    try:
        difference = _difference(golden, answer)
    except (ValueError, TypeError) as error:
        said = f"it answers what no endpoint of ours would: {error!r}"
        return Probe(False, said, milliseconds, Breach("answers of another form", "as in training"))
    if difference:
        return Probe(False, difference.words, milliseconds, difference.breach)
    rows = len(golden.records)
    return Probe(True, f"{rows} golden requests answered as in training", milliseconds)


def _difference(golden: bundle.Golden, answer: Answer) -> Problem | None:
    """What of the answers is not as in training; None when all is.

    Raises:
        ValueError, TypeError: the answer is not of the form an endpoint gives.
    """
    rows = len(golden.records)
    if (found := len(answer.predictions)) != rows:
        said = f"{found} answers to {rows} golden requests"
        return Problem(said, Breach(f"{found} answers", f"{rows} answers"))
    if golden.probabilities:
        expected, answered = golden.probabilities, answer.probabilities
        pairs = zip(golden.predictions, answer.predictions, strict=True)
        if others := sum(before != now for before, now in pairs):
            said = "golden requests are answered with other labels than in training"
            return Problem(said, Breach(f"{others} of {rows} labels differ", "0"))
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
        said = f"golden requests are answered {max(distances):.2g} away from training"
        return Problem(said, Breach(f"{max(distances):.2g} away", f"{TOLERANCE:g}"))
    return None
