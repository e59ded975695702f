"""Endpoints on the local target for tests, and callers that keep them busy."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from mlops_assets.deployment.journal import Journal
from mlops_assets.deployment.rollout import roll_out
from mlops_assets.deployment.spec import RolloutSpec
from mlops_assets.deployment.targets.base import Release, TargetContext
from mlops_assets.deployment.targets.local import CANDIDATE, Local
from mlops_assets.gateways.data_store import DataStore
from mlops_assets.gateways.records import Endpoint
from mlops_assets.gateways.wait import wait_until
from mlops_assets.monitoring import profiles
from mlops_assets.serving import endpoint
from mlops_assets.serving.recording import Recording
from mlops_assets_tests.builders import Built


def until(condition: Callable[[], Any], timeout: float = 120.0) -> Any:
    """The first true answer. The longer it takes, the less often is asked: conditions that look
    into databases would take a processor for themselves, from what they wait for."""
    began = time.monotonic()

    def pause(seconds: float) -> None:
        time.sleep(min(seconds, max(0.02, (time.monotonic() - began) / 20)))

    return wait_until(condition, timeout=timeout, interval=0.5, clock=time.monotonic, sleep=pause)


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@dataclass
class Place:
    """Where a test deploys to; everything started there is ended by `clear`."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def context(self) -> TargetContext:
        return TargetContext(
            state=self.root / "state",
            environment=self.environment,
            variables=self.variables,
            now=lambda: datetime.now(UTC),
            sleep=time.sleep,
        )

    @property
    def folder(self) -> Path:
        return self.root / "state" / "churn"

    @property
    def state(self) -> endpoint.State:
        found = endpoint.read_state(self.folder)
        assert found is not None
        return found

    @property
    def log(self) -> str:
        return (self.folder / endpoint.LOG).read_text()

    def release(self, built: Built, version: int) -> Release:
        recording = Recording(str(self.root / "profiles"), 3600)
        return Release("churn", version, built.digest, "", recording)

    def deploy(self, built: Built, version: int, **settings: Any) -> Endpoint:
        return roll_out(
            Local(kind="local", **settings),
            self.release(built, version),
            built.folder,
            spec=RolloutSpec(),
            journal=Journal(DataStore(str(self.root / "data"), {}), "churn", "local"),
            context=self.context,
            run="test",
            tell=lambda _: None,
        ).endpoint

    def retire(self) -> Endpoint | None:
        return Local(kind="local").retire("churn", self.context)

    def profiled(self) -> Counter[str]:
        """Rows in the profiles that have reached the store, by version."""
        rows: Counter[str] = Counter()
        for path in (self.root / "profiles").glob("*/*.bin"):
            view = profiles.deserialize(path.read_bytes())
            rows[view.metadata["version"]] += profiles.rows(view)
        return rows

    def clear(self) -> None:
        """End the supervisors, and their workers with them, whatever a test left behind."""
        for folder in (self.folder / CANDIDATE, self.folder):
            if not endpoint.alive(folder):
                continue
            pid = endpoint.holder(folder)
            assert pid is not None
            os.kill(pid, signal.SIGTERM)
            try:
                until(lambda folder=folder: not endpoint.alive(folder), 90)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise


def ask(url: str, built: Built, rows: int = 5) -> httpx.Response:
    return httpx.post(f"{url}/invocations", json={"instances": built.records(rows)}, timeout=20)


@dataclass
class Load:
    """What callers saw: rows answered by version, and everything that went wrong."""

    answered: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    """Connections that were not made, which is all a caller may see of an endpoint that ended."""
    failures: list[str] = field(default_factory=list)
    ends: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def total(self) -> int:
        return sum(self.answered.values())

    def call(self, url: str, body: dict[str, Any], *, kept: bool, pause: float) -> None:
        with httpx.Client(timeout=20, trust_env=False) as client:
            while not self.ends.is_set():
                try:
                    address = f"{url}/invocations"
                    # Certificates are not read anew for every connection, as would cost most of it.
                    answer = (
                        client.post(address, json=body)
                        if kept
                        else httpx.post(address, json=body, timeout=20, verify=False)
                    )
                    if answer.status_code == 200:
                        content = answer.json()
                        with self.lock:  # callers that count at once would lose some
                            self.answered[content["version"]] += len(content["predictions"])
                    else:
                        self.failures.append(f"{answer.status_code} {answer.text}")
                except httpx.ConnectError:
                    with self.lock:
                        self.refused += 1
                    time.sleep(0.05)
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                time.sleep(pause)


@contextmanager
def load(
    url: str, built: Built, *, kept: int = 2, new: int = 2, pause: float = 0.05
) -> Iterator[Load]:
    """Callers that keep their connection, and callers that make one per request."""
    found, body = Load(), {"instances": built.records(3)}
    threads = [
        threading.Thread(
            target=found.call, args=(url, body), kwargs={"kept": index < kept, "pause": pause}
        )
        for index in range(kept + new)
    ]
    for thread in threads:
        thread.start()
    try:
        until(lambda: found.total > 20)
        yield found
    finally:
        found.ends.set()
        for thread in threads:
            thread.join(30)
