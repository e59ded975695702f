"""Containers on this machine, by docker or podman: the serving image is built, run and ended.

The base image comes from where the program finds it, or is made by `base-image` in the folder that
BASE_IMAGE_PEER names.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlops_assets_tests.peers.missing import MissingError, folder_in

ROOT = Path(__file__).parent.parent.parent
BASE = "python:3.11-slim"
IMAGE = "localhost/mlops-serving:test"
CONTEXT = (
    "requirements-serving.txt", "requirements-lambda.txt", "deploy/docker/pack", ".dockerignore",
    "mlops_assets",
)  # fmt: skip
OWN_INDEX = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
"""How this machine reaches packages, if it does so in its own way."""
MODEST = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=16384:16384"]
[engine]
runtime = "runc"
"""
"""For podman where root may not raise limits, or control groups are of both kinds."""


@dataclass(frozen=True)
class Container:
    """One that was started; it may have ended since."""

    containers: "Containers"
    name: str

    @property
    def url(self) -> str:
        """Of its port 8080."""
        return f"http://{self.containers.run('port', self.name, '8080').split()[0]}"

    @property
    def logs(self) -> str:
        return self.containers.output("logs", self.name)

    def execute(self, *command: str) -> str:
        """Both streams of a command in it, whatever its status."""
        return self.containers.output("exec", self.name, *command)

    def stop(self, *, patience: int = 60) -> int:
        """SIGTERM; its exit status."""
        self.containers.run("stop", "-t", str(patience), self.name, timeout=patience + 30)
        return self.status

    def wait(self) -> int:
        return int(self.containers.run("wait", self.name, timeout=120))

    @property
    def status(self) -> int:
        return int(self.containers.run("inspect", "--format", "{{.State.ExitCode}}", self.name))


@dataclass(frozen=True)
class Containers:
    """A program that runs containers, and the environment it does so in."""

    program: str
    environment: dict[str, str]

    def run(self, *arguments: str, timeout: float = 120) -> str:
        """What it says on its output.

        Raises:
            RuntimeError: it failed; with all it said.
        """
        done = self._call(*arguments, timeout=timeout)
        if done.returncode:
            raise RuntimeError(f"{self.program} {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def output(self, *arguments: str) -> str:
        done = self._call(*arguments, timeout=120)
        return done.stdout + done.stderr

    def has(self, image: str) -> bool:
        return self._call("image", "inspect", image, timeout=60).returncode == 0

    def build(
        self,
        image: str,
        folder: Path,
        *,
        target: Literal["serving", "lambda"] = "serving",
        bundle: Path | None = None,
        **more: str,
    ) -> str:
        """An image of an endpoint, made of a copy of this project in `folder`; its name.

        Args:
            image: name and tag it gets.
            folder: empty, for the build context.
            target: of the Dockerfile.
            bundle: baked in.
            more: other build arguments.
        """
        for name in CONTEXT:
            source, copy = ROOT / name, folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                left_out = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, copy, ignore=left_out)
            else:
                shutil.copy2(source, copy)
        if bundle is not None:
            shutil.copytree(bundle, folder / "bundle")
            more["BUNDLE"] = "bundle"
        arguments = [f"--build-arg={name}={value}" for name, value in more.items()]
        # The one that needs no naming is not named.
        arguments += [f"--target={target}"] if target != "serving" else []
        recipe = str(ROOT / "deploy/docker/Dockerfile")
        self.run(
            "build", *self._own(), *arguments, "-f", recipe, "-t", image, str(folder), timeout=900
        )
        return image

    def _own(self) -> list[str]:
        if self.program != "podman":
            return []
        mounts = [f"--volume={path}:{path}:ro" for path in OWN_INDEX if Path(path).exists()]
        return ["--format=docker", "--network=host", "--pull=missing", *mounts]

    def save(self, image: str, archive: Path) -> Path:
        """The image as an archive that every container runtime reads."""
        kind = ["--format=docker-archive"] if self.program == "podman" else []
        self.run("save", *kind, "-o", str(archive), image, timeout=300)
        return archive

    @contextmanager
    def started(
        self, image: str, *command: str, options: tuple[str, ...] = (), **variables: str
    ) -> Iterator[Container]:
        """As production runs it: no rights, nothing to write to but /tmp; removed afterwards.

        Args:
            image: what is run.
            command: for the image's entry point.
            options: more of the program's.
            variables: of the environment.
        """
        given = [f"--env={name}={value}" for name, value in variables.items()]
        strict = (
            "--read-only",
            "--tmpfs=/tmp",
            "--cap-drop=all",
            "--security-opt=no-new-privileges",
        )
        network = () if "--network=host" in options else ("--publish=127.0.0.1::8080",)
        name = self.run("run", "-d", *strict, *network, *options, *given, image, *command)
        try:
            yield Container(self, name)
        finally:
            self.run("rm", "-f", name)

    def _call(self, *arguments: str, timeout: float) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self.program, *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )


@contextmanager
def found() -> Iterator[Containers]:
    """A program that runs containers on this machine, with the base image at hand.

    Raises:
        MissingError: with what to install.
    """
    docker = Containers("docker", {})
    if shutil.which("docker") and docker._call("info", timeout=60).returncode == 0:
        yield docker
        return
    if not shutil.which("podman"):
        raise MissingError("containers need podman, or docker with its daemon")
    with tempfile.TemporaryDirectory(prefix="mlops-podman-") as folder:
        modest = Path(folder) / "containers.conf"
        modest.write_text(MODEST)
        _base(Containers("podman", {}))
        said = ""
        for environment in ({}, {"CONTAINERS_CONF": str(modest)}):
            podman = Containers("podman", environment)
            probe = podman._call("run", "--rm", BASE, "true", timeout=120)
            if probe.returncode == 0:
                yield podman
                return
            said = probe.stderr.strip()[-300:]
    raise MissingError(f"podman runs no container here: {said}")


def _base(podman: Containers) -> None:
    folder = folder_in("BASE_IMAGE_PEER")
    if podman.has(BASE) or folder is None:
        return  # or podman fetches it
    done = subprocess.run([folder / "base-image"], capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise MissingError(f"the base image cannot be made: {done.stderr.strip()[-300:]}")
