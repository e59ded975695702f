"""The serving bundle: the only thing an endpoint loads. Its format, writing and verification.

A folder with `manifest.json` (what the model is, and a sha256 of every other file), the model in
a format that cannot execute code, and `golden.json` (requests with the predictions expected).
Standard library only; knows neither the platform nor how a model is executed.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mlops_assets.serving.schema import InputSchema

FORMAT = 2
MANIFEST = "manifest.json"
GOLDEN = "golden.json"
REFERENCE_PROFILE = "reference_profile.bin"
"""Distributions at training time, in whylogs' format."""

Task = Literal["binary_classification", "multiclass_classification", "regression"]


class BundleError(Exception):
    """The bundle is absent, tampered with, incomplete, or of a format this program cannot read."""


@dataclass(frozen=True)
class Manifest:
    """What an endpoint must know of the model it serves."""

    model: str
    """Name of the registered model: the experiment."""
    run_id: str
    """MLflow run that trained it."""
    task: Task
    runtime: Literal["onnx", "sklearn"]
    """Which loader in `serving.runtimes` executes the model file."""
    model_file: str
    schema: InputSchema
    classes: tuple[Any, ...]
    """Labels by encoded value; the positive class last. Empty for regression."""
    threshold: float | None
    """Binary only: the positive class is predicted when its probability is at least this."""
    data_digest: str
    code_version: str
    created_at: str
    files: dict[str, str]
    """sha256 by file name, of every file but the manifest."""
    entity: str | None = None
    """Field of a request that says whom a row is about; no input of the model."""
    format: int = FORMAT


@dataclass(frozen=True)
class Golden:
    """Requests with the predictions the estimator gave for them at training time."""

    records: tuple[dict[str, Any], ...]
    predictions: tuple[Any, ...]
    probabilities: tuple[tuple[float, ...], ...]
    """One row per request in the order of `classes`; empty for regression."""


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Write the manifest over the files in `folder`, with their digests; return it as written."""
    files = {path.name: _sha256(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    sealed = replace(manifest, files=files)
    content = {**asdict(sealed), "schema": sealed.schema.to_json()}
    _write(folder / MANIFEST, json.dumps(content, indent=1, sort_keys=True))
    return sealed


def verify(folder: Path) -> Manifest:
    """The manifest, after every file was found to be the one it names.

    Raises:
        BundleError: with the reason, before anything of the bundle was used.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"{folder} is no bundle: it holds no {MANIFEST}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise BundleError(f"{path} does not name the bundle's format")
    if content["format"] > FORMAT:
        raise BundleError(
            f"{folder} has bundle format {content['format']}; this program reads up to {FORMAT}: "
            "update mlops_assets on the endpoint"
        )
    try:
        schema = InputSchema.from_json(content["schema"])
        manifest = Manifest(**{**content, "schema": schema, "classes": tuple(content["classes"])})
    except (KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path} is incomplete: {error}") from error
    if not isinstance(manifest.files, dict):
        raise BundleError(f"{path}: 'files' is not a table of file name and sha256")
    _verify_files(folder, manifest)
    return manifest


def digest(folder: Path) -> str:
    """sha256 of the manifest, and through it of every file of the bundle."""
    return _sha256(folder / MANIFEST)


def read_golden(folder: Path) -> Golden:
    """The golden requests of a verified bundle.

    Raises:
        BundleError: there is no such file, or it is not what `write_golden` writes.
    """
    path = folder / GOLDEN
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Golden(
            records=tuple(content["records"]),
            predictions=tuple(content["predictions"]),
            probabilities=tuple(tuple(row) for row in content["probabilities"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} holds no golden requests: {error!r}") from error


def write_golden(folder: Path, golden: Golden) -> None:
    _write(folder / GOLDEN, json.dumps(asdict(golden)))


def _verify_files(folder: Path, manifest: Manifest) -> None:
    found = {path.name for path in folder.iterdir() if path.name != MANIFEST}
    if missing := sorted(set(manifest.files) - found):
        raise BundleError(f"{folder} lacks {missing}, which its manifest names")
    if unknown := sorted(found - set(manifest.files)):
        raise BundleError(f"{folder} holds {unknown}, which its manifest does not name")
    if manifest.model_file not in manifest.files:
        raise BundleError(f"{folder}: the manifest names no digest for {manifest.model_file}")
    for name, expected in manifest.files.items():
        if (folder / name).is_symlink() or not (folder / name).is_file():
            raise BundleError(f"{folder / name} is not a regular file; a bundle holds only those")
        if _sha256(folder / name) != expected:
            raise BundleError(f"{folder / name} is not the file its manifest describes")


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
