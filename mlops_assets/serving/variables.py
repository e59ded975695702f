"""The variables that configure an endpoint in a container and as a function: `MLOPS_` and a name.

In a container each is an option of `serve` as well: `MLOPS_MAX_ROWS` is `--max-rows`. One that is
empty counts as absent. Standard library only.
"""

import json
from collections.abc import Mapping

from mlops_assets.serving.recording import Recording

KEYS = "MLOPS_KEYS"
"""Keys of which callers need one, separated by commas. Empty serves nothing: see `preparation`."""


class SettingError(ValueError):
    """A variable or an option holds what it cannot."""


def named(option: str) -> str:
    """The variable of an option: `max-rows` is `MLOPS_MAX_ROWS`."""
    return f"MLOPS_{option.upper().replace('-', '_')}"


def given(environment: Mapping[str, str], option: str) -> str | None:
    return environment.get(named(option)) or None


def key_variable(environment: Mapping[str, str]) -> str | None:
    """The variable with the keys; None where callers need none."""
    return KEYS if KEYS in environment else None


def recording(text: str | None) -> Recording | None:
    """What is kept of the traffic, out of its JSON; None keeps nothing.

    Raises:
        SettingError: the text is no `Recording`.
    """
    if not text:
        return None
    try:
        return Recording.from_json(json.loads(text))
    except (ValueError, TypeError, AttributeError) as error:
        raise SettingError(
            f"{named('recording')} does not say what is recorded: {error}"
        ) from error


def embedded_metrics(text: str | None) -> dict[str, str] | None:
    """Dimensions of the metrics that are written to standard output, out of their JSON; None writes
    none.

    Raises:
        SettingError: the text holds no such dimensions.
    """
    if not text:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(v and isinstance(v, str) for v in found.values()):
        raise SettingError(
            f"{named('embedded-metrics')} is {text!r}, which is no JSON object of texts"
        )
    return found


def limits(environment: Mapping[str, str]) -> dict[str, int]:
    """Those of `service.Limits` that the variables change.

    Raises:
        SettingError: one is no number.
    """
    found = {}
    for option, limit, unit in (
        ("max-rows", "max_rows", 1),
        ("max-body-mb", "max_body_bytes", 1_000_000),
        ("max-in-flight", "max_in_flight", 1),
    ):
        text = given(environment, option)
        if text is not None:
            try:
                found[limit] = int(float(text) * unit)
            except (ValueError, OverflowError) as error:
                raise SettingError(f"{named(option)} is {text!r}, which is no number") from error
    return found
