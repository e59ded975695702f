"""A process that deploys to the local target, of whose steps one fails or is the last.

A step is what it asks of the machine to change the endpoint: files it writes below the endpoint's
folder, processes it starts, signals it sends.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from mlops_assets.deployment.rollout import RolloutError
from mlops_assets.deployment.targets.base import TargetError
from mlops_assets_tests.builders import Built
from mlops_assets_tests.endpoints import Place

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
ASKED = ("lock", "environment")
"""Files that are opened again and again until somebody answers."""
ENDED: dict[int, str] = {
    0: "went on", 3: "rolled back", 4: "unknown", -signal.SIGKILL: "killed",
}  # fmt: skip


@dataclass
class Steps:
    """Hears of each step before it is taken."""

    folder: Path
    fails_at: int
    """Its number, from 1 on; 0 for none."""
    how: str
    """`killed`, or the name of an error of the machine."""
    seen: list[str] = field(default_factory=list)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        step = self._step(event, arguments)
        if not step or step in self.seen[-1:]:
            return
        self.seen.append(step)
        if len(self.seen) != self.fails_at:
            return
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        number = getattr(errno, self.how)
        raise OSError(number, os.strerror(number), step)

    def _step(self, event: str, arguments: tuple[Any, ...]) -> str:
        if event == "subprocess.Popen":
            return "start a supervisor"
        if event == "os.kill":
            return f"send signal {arguments[1]}"
        changes = event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir")
        if not changes and not (event == "open" and _writes(arguments)):
            return ""
        path = Path(os.fsdecode(arguments[0])) if not isinstance(arguments[0], int) else Path()
        if self.folder not in path.parents or path.name in ASKED:
            return ""
        within = path.relative_to(self.folder)
        # Files of one bundle are one step.
        return f"{event} {'a bundle' if within.parts[0] == 'bundles' else within}"


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, _, flags = arguments
    return isinstance(flags, int) and bool(flags & WRITES)


def deploy(root: Path, built: Built, version: int, *, fails_at: int = 0, how: str = "") -> "Ended":
    """Have another process deploy; how that ended."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    receiver, sender = context.Pipe(duplex=False)
    given = (root, built.folder, built.digest, version, fails_at, how, sender)
    process = context.Process(target=_deploy, args=given)
    process.start()
    sender.close()
    process.join(120)
    code = process.exitcode
    if code is None:
        process.kill()
        process.join(20)
        raise AssertionError("it does not end")
    assert code in ENDED, f"it ended with status {code}"
    steps, said = ([], "") if code < 0 else receiver.recv()
    receiver.close()
    return Ended(ENDED[code], said, steps)


@dataclass(frozen=True)
class Ended:
    how: str
    said: str
    steps: list[str]


def _deploy(
    root: Path, folder: Path, digest: str, version: int, fails_at: int, how: str, sender: Any
) -> None:
    place = Place(root)
    steps = Steps(place.folder, fails_at, how)
    sys.addaudithook(steps.hear)
    code, said = _outcome(lambda: place.deploy(Built(folder, digest, None, None, {}), version))
    sender.send((steps.seen, said))
    sys.exit(code)


def _outcome(work: Callable[[], object]) -> tuple[int, str]:
    try:
        work()
    except RolloutError as error:
        return 3, str(error)
    except TargetError as error:
        return 4, str(error)
    return 0, ""
