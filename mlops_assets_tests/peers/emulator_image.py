"""An environment of a Lambda function that is an image: its own entry point in a container, with
AWS's runtime interface emulator brought in beside it, as AWS says to try images."""

import itertools
import json
import os
from pathlib import Path
from typing import Any

from mlops_assets_tests.peers.aws import AwsError
from mlops_assets_tests.peers.containers import Containers
from mlops_assets_tests.peers.emulator import Environment, Function, Start

EMULATOR = "/emulator"
TASK_ROOT = "/var/task"
"""Where Lambda says that code is, whatever the image has there."""
STRICT = (
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--network=host",  # where the peers are
)
"""What a function may do to its machine: nothing but write to /tmp."""
_count = itertools.count()


class Contained(Environment):
    """Of an image."""

    def __init__(
        self, binary: Path, containers: Containers, function: Function, folder: Path
    ) -> None:
        self._binary = binary
        self._containers = containers
        self._name = f"mlops-lambda-{os.getpid()}-{next(_count)}"
        self._pid = 0
        super().__init__(function, folder)

    def _start(self, arguments: list[str], folder: Path) -> Start:
        asked, image = self._containers, self.function.image
        config: dict[str, Any] = json.loads(asked.run("image", "inspect", image))[0]["Config"]
        own = [*config["Entrypoint"], *(self.function.command or config["Cmd"])]
        given = {"LAMBDA_TASK_ROOT": TASK_ROOT, **self.function.variables}
        command = [
            *(asked.program, "run", "--rm", f"--name={self._name}", *STRICT),
            *(f"--env={name}={value}" for name, value in given.items()),
            *(f"--volume={self._binary}:{EMULATOR}:ro", f"--entrypoint={EMULATOR}"),
            *(image, *arguments, *own),
        ]
        return Start(command, {**os.environ, **asked.environment}, folder)

    def end(self) -> None:
        if self._process.poll() is None:
            self._containers.output("rm", "-f", "-t", "0", self._name)
        self._process.wait(30)

    def _emulator(self) -> int:
        if not self._pid:
            asked = ("inspect", "--format", "{{.State.Pid}}", self._name)
            self._pid = int(self._containers.run(*asked))
        return self._pid


class Images:
    """Images that functions are made of: those of this machine stand for a registry's."""

    def __init__(self, containers: Containers | None) -> None:
        self._containers = containers

    def find(self, uri: str) -> str:
        """The ID of the image that a name means now; moving the name later moves no function.

        Raises:
            AwsError: there is none.
        """
        containers = self._containers
        if containers is None or not containers.has(uri):
            said = f"Source image {uri} does not exist. Provide a valid source image."
            raise AwsError("InvalidParameterValueException", said)
        return containers.run("image", "inspect", "--format", "{{.Id}}", uri)

    def start(self, binary: Path, function: Function, folder: Path) -> Environment:
        assert self._containers is not None, "a function of an image that was never found"
        return Contained(binary, self._containers, function, folder)
