"""Virtual environments of the contenders: made on first use, outside the project, kept for later.

An environment that could not be made leaves its reason with the caller and is tried anew next time.
"""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

TIMEOUT = 600
SAME = ("scikit-learn", "pandas", "numpy", "joblib")
"""What every environment has in the version of this one: the model is read by all of them."""


class InstallError(Exception):
    """The packages could not be installed; says what pip said last."""


def default():
    """Where environments stand unless --environments says otherwise."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "mlops-bench-serving"


def python_of(root, name, packages):
    """The interpreter of the environment `name` with these packages, made if need be.

    Raises:
        InstallError: with the reason.
    """
    folder = root / name
    done, wanted = folder / "installed.json", [*packages, *pinned()]
    if done.exists() and json.loads(done.read_text(encoding="utf-8")) == wanted:
        return folder / "bin" / "python"
    shutil.rmtree(folder, ignore_errors=True)
    print(f"installing {name}: {', '.join(packages)}", flush=True)
    python = empty(folder)
    install(python, wanted)
    compile_all(python, folder / "lib")
    done.write_text(json.dumps(wanted), encoding="utf-8")
    return python


def empty(folder):
    """The interpreter of a new environment with pip alone."""
    run([sys.executable, "-m", "venv", folder])
    return folder / "bin" / "python"


def compile_all(python, folder):
    """Where PYTHONDONTWRITEBYTECODE is set, every start would compile everything anew."""
    # A few packages ship files of other Python versions as templates; these may fail.
    command = [python, "-m", "compileall", "-q", "-j", "0", folder]
    subprocess.run(command, check=False, capture_output=True, timeout=TIMEOUT)


def version(python, package):
    """Of a package in an environment that was made here."""
    name = re.split("[<>=[]", package)[0].replace("-", "_")
    (found,) = python.parent.parent.glob(f"lib/python*/site-packages/{name}-*.dist-info")
    return found.name.removesuffix(".dist-info").rpartition("-")[2]


def pinned():
    return [f"{name}=={importlib.metadata.version(name)}" for name in SAME]


def install(python, packages, *options):
    """Install packages, with uv where it is there."""
    if shutil.which("uv"):
        run(["uv", "pip", "install", "--quiet", "--python", python, *options, *packages])
    else:
        run([python, "-m", "pip", "install", "--quiet", *options, *packages])


def run(command):
    command = list(map(str, command))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"not done within {TIMEOUT} s") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
        raise InstallError("; ".join(said[-3:]) or f"exit code {done.returncode}")
