"""What would be uploaded to Lambda: ours as it is deployed, the peer by pip; pruned and weighed."""

import importlib.metadata
import shutil
import subprocess
from pathlib import Path

import environments

from mlops_assets.deployment import distributions
from mlops_assets.deployment.aws_lambda import package as lambda_package
from mlops_assets.deployment.distributions import Platform

PEER = ("mlflow>=3.17,<3.18", "scikit-learn", "pandas", "numpy")


def ours(folder):
    """The serving room with what it imports, in the versions of this environment, as deployed."""
    lambda_package.stage(folder, distributions.needed("onnx"), Platform.here())
    return folder


def peer(python, folder):
    """MLflow and scikit-learn with all they depend on."""
    pinned = [f"{name}=={importlib.metadata.version(name)}" for name in environments.SAME]
    environments.install(python, [*PEER, *pinned], "--target", folder)
    shutil.copy(Path(__file__).with_name("servers") / "lambda_mlflow.py", folder)
    return finished(python, folder)


def finished(python, folder):
    """Without what nobody imports; with bytecode, for Lambda's disk is read-only."""
    for name in distributions.PRUNED_FOLDERS:
        for path in [*folder.rglob(name)]:
            shutil.rmtree(path, ignore_errors=True)
    for pattern in distributions.PRUNED_FILES:
        for path in [*folder.rglob(pattern)]:
            path.unlink()
    compiled = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", folder]
    subprocess.run([python, *compiled], check=False, capture_output=True)
    return folder


def megabytes(folder):
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6
