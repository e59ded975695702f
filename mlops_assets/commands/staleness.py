"""Which assets a change reaches, and why. Pure: what is known of each asset comes from the
caller."""

from collections.abc import Iterable
from dataclasses import dataclass


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


def judge(assets: Iterable[Known]) -> tuple[Verdict, ...]:
    """A verdict per asset, in the order given: what an asset is made of stands before it."""
    known = {asset.name: asset for asset in assets}
    changing: set[str] = set()
    verdicts = []
    for asset in known.values():
        why = _why(asset, known, changing)
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
