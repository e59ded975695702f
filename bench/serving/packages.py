"""What would be uploaded to Lambda: installed by pip, pruned, compiled, weighed."""

import importlib.metadata
import shutil
import subprocess
import tomllib
from pathlib import Path

import environments

PROJECT = Path(__file__).resolve().parent.parent.parent
GROUPS = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))[
    "dependency-groups"
]
SERVING = (*GROUPS["endpoint"], "mangum", "typing-extensions")
"""What `mlops_assets.serving` imports on an endpoint. No dependencies of theirs: onnxruntime names
some that only its tools import."""
PEER = ("mlflow>=3.17,<3.18", "scikit-learn", "pandas", "numpy")
PRUNED_FOLDERS = ("tests", "__pycache__", "include", "bin")
PRUNED_FILES = ("*.pyi", "*.pxd", "*.pyx", "*.c", "*.h", "*.hpp", "*.a")
ONNXRUNTIME_TOOLS = ("tools", "transformers", "quantization", "datasets")
ONNXRUNTIME_LIBRARY = "libonnxruntime.so*"
"""For programs in C; Python's module carries its own copy."""


def ours(python, folder):
    """The serving room with what it imports, in the versions of this environment."""
    wanted = [f"{name}=={importlib.metadata.version(name)}" for name in SERVING]
    environments.install(python, wanted, "--no-deps", "--target", folder)
    for name in ONNXRUNTIME_TOOLS:
        shutil.rmtree(folder / "onnxruntime" / name, ignore_errors=True)
    for path in (folder / "onnxruntime" / "capi").glob(ONNXRUNTIME_LIBRARY):
        path.unlink()
    room = folder / "mlops_assets"
    room.mkdir()
    shutil.copy(PROJECT / "mlops_assets" / "__init__.py", room)
    shutil.copytree(PROJECT / "mlops_assets" / "serving", room / "serving")
    return finished(python, folder)


def peer(python, folder):
    """MLflow and scikit-learn with all they depend on."""
    pinned = [f"{name}=={importlib.metadata.version(name)}" for name in environments.SAME]
    environments.install(python, [*PEER, *pinned], "--target", folder)
    shutil.copy(Path(__file__).with_name("servers") / "lambda_mlflow.py", folder)
    return finished(python, folder)


def finished(python, folder):
    """Without what nobody imports; with bytecode, for Lambda's disk is read-only."""
    for name in PRUNED_FOLDERS:
        for path in [*folder.rglob(name)]:
            shutil.rmtree(path, ignore_errors=True)
    for pattern in PRUNED_FILES:
        for path in [*folder.rglob(pattern)]:
            path.unlink()
    compiled = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", folder]
    subprocess.run([python, *compiled], check=False, capture_output=True)
    return folder


def megabytes(folder):
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6
