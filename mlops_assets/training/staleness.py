"""Which assets a change reaches, and why. Pure: what is known of each asset comes from the
caller."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

CODE = "dagster/code_version"
DATA = "dagster/data_version"
INPUT = "dagster/input_data_version/"
"""Tags of a materialization."""


@dataclass(frozen=True)
class Stage:
    """One asset as the YAML asks for it."""

    name: str
    deps: tuple[str, ...]
    code: str
    """Fingerprint of the YAML it would be made from now."""


@dataclass(frozen=True)
class Known:
    """What is known of one asset."""

    name: str
    deps: tuple[str, ...]
    code: str
    """Fingerprint of the YAML it would be made from now."""
    made_code: str | None
    """The same of the last time it was made; None when it never was."""
    made_version: str
    """Version of the data it held then."""
    inputs: dict[str, str]
    """Versions of the data it was made from, by name."""
    version_now: str | None = None
    """Version its data would have now, where that can be known without making it."""
    unfinished: str = ""
    """What is left to do of it, in words; empty when nothing is."""


@dataclass(frozen=True)
class Verdict:
    """Whether one asset is out of date."""

    name: str
    stale: bool
    why: str


def known(stage: Stage, tags: Mapping[str, str]) -> Known:
    """What the tags of its last materialization say of an asset; of one never made there are
    none."""
    inputs = {k.rsplit("/", 1)[-1]: value for k, value in tags.items() if k.startswith(INPUT)}
    return Known(stage.name, stage.deps, stage.code, tags.get(CODE), tags.get(DATA, ""), inputs)


def judge(assets: Iterable[Known]) -> tuple[Verdict, ...]:
    """A verdict per asset, in the order given: what an asset is made of stands before it."""
    by_name = {asset.name: asset for asset in assets}
    changing: set[str] = set()
    verdicts = []
    for asset in by_name.values():
        why = _why(asset, by_name, changing)
        # Content that is known to stay the same changes nothing further down.
        same = asset.version_now is not None and asset.version_now == asset.made_version
        if why and not same:
            changing.add(asset.name)
        verdicts.append(Verdict(asset.name, bool(why), why or "up to date"))
    return tuple(verdicts)


def _why(asset: Known, known: dict[str, Known], changing: set[str]) -> str:
    if asset.made_code is None:
        return "never made"
    if asset.version_now is not None and asset.version_now != asset.made_version:
        return "the data changed"
    if asset.code != asset.made_code:
        return "its part of the YAML changed"
    if upstream := [dep for dep in asset.deps if dep in changing]:
        return f"made from {', '.join(upstream)}, which will change"
    if asset.unfinished:
        return asset.unfinished
    moved = [
        dep
        for dep in asset.deps
        if dep in known and asset.inputs.get(dep) not in (None, known[dep].made_version)
    ]
    return f"{', '.join(moved)} changed since" if moved else ""
