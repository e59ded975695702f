"""A model registry in memory: quick enough to try every order in which several programs may act."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_assets.gateways.model_registry import AbsentError, ModelRegistry, RegistryError
from mlops_assets.gateways.registered import RegisteredModel, RegistryVersion


@dataclass
class Kept:
    """A registered model."""

    aliases: dict[str, int] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    versions: dict[int, dict[str, str]] = field(default_factory=dict)
    """Tags by number."""


class MemoryRegistry(ModelRegistry):
    """Versions, tags and aliases as MLflow keeps them; runs keep nothing but texts."""

    def __init__(self, models: dict[str, Kept]) -> None:
        super().__init__("memory:", "", "")
        self.kept = models
        self.texts: dict[tuple[str, str], str] = {}

    def check(self) -> None: ...

    def register(self, name: str, *, source: str, run_id: str, tags: Mapping[str, str]) -> int:
        versions = self.kept.setdefault(name, Kept()).versions
        number = max(versions, default=0) + 1
        versions[number] = dict(tags)
        return number

    def version(self, name: str, number: int) -> RegistryVersion:
        if name not in self.kept or number not in self.kept[name].versions:
            raise AbsentError(f"MLflow holds no version {number} of {name}")
        return self._found(name, number)

    def _found(self, name: str, number: int) -> RegistryVersion:
        tags = dict(self.kept[name].versions[number])
        return RegistryVersion(name, number, f"run{number}", "runs:/r/model", tags, number)

    def model(self, name: str) -> RegisteredModel | None:
        if (kept := self.kept.get(name)) is None:
            return None
        latest = max(kept.versions, default=None)
        newest = None if latest is None else self._found(name, latest)
        return RegisteredModel(dict(kept.aliases), newest, 0, dict(kept.tags))

    def models(self) -> dict[str, RegisteredModel]:
        found = {name: MemoryRegistry.model(self, name) for name in self.kept}
        return {name: model for name, model in found.items() if model is not None}

    def versions_tagged(self, tag: str, *, most: int) -> list[RegistryVersion]:
        found = [
            self._found(name, number)
            for name, kept in self.kept.items()
            for number, tags in kept.versions.items()
            if tag in tags
        ]
        return found[:most]

    def set_alias(self, name: str, alias: str, version: int) -> None:
        self.kept[name].aliases[alias] = version

    def remove_alias(self, name: str, alias: str) -> None:
        self.kept[name].aliases.pop(alias, None)

    def tag_model(self, name: str, tags: Mapping[str, str]) -> None:
        self.kept[name].tags.update(tags)

    def tag_version(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        self.kept[name].versions[version].update(tags)

    def untag_version(self, name: str, version: int, tags: Iterable[str]) -> None:
        for key in tags:
            self.kept[name].versions[version].pop(key, None)

    def download(self, uri: str, folder: Path) -> Path:
        raise RegistryError(f"{uri} is not there")

    def log_text(self, run_id: str, text: str, path: str) -> None:
        self.texts[run_id, path] = text

    def log(self, run_id: str, **_: Any) -> None: ...
