"""Prometheus and Alertmanager with what deploy/monitoring ships, on ports of a test and in seconds
instead of minutes."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from mlops_assets_tests.endpoints import until
from mlops_assets_tests.programs import free_port

SHIPPED = Path(__file__).parents[2] / "deploy" / "monitoring"
PROGRAMS = ("prometheus", "prometheus-alertmanager")
HOLD = "2s"
"""Instead of every `for:` of the rules: promtool proves how long they are."""


@dataclass(frozen=True)
class Monitoring:
    """Both, while they run."""

    client: httpx.Client
    """Of Prometheus."""

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The vector that an expression is now."""
        content = self.client.get("/api/v1/query", params={"query": expression}).json()
        assert content["status"] == "success", content
        return list(content["data"]["result"])

    def names(self) -> set[str]:
        """Of every metric that was ever scraped."""
        return set(self.client.get("/api/v1/label/__name__/values").json()["data"])


@contextmanager
def running(folder: Path, *, exporter: str, webhook: str) -> Iterator[Monitoring]:
    """Until the end of the block.

    Args:
        folder: for their files.
        exporter: host and port of `mlops metrics`.
        webhook: URL that every receiver of Alertmanager tells.
    """
    alerts, port = f"127.0.0.1:{free_port()}", free_port()
    _write(folder, alerts=alerts, exporter=exporter, webhook=webhook)
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        stack.enter_context(
            _started(
                folder, "prometheus-alertmanager", "--config.file=alertmanager.yml",
                f"--web.listen-address={alerts}", "--cluster.listen-address=",
                "--storage.path=alerts",
            )
        )  # fmt: skip
        stack.enter_context(
            _started(
                folder, "prometheus", "--config.file=prometheus.yml",
                f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.path=series",
            )
        )  # fmt: skip
        client = stack.enter_context(httpx.Client(base_url=url, trust_env=False, timeout=10))
        for ready in (f"http://{alerts}/-/ready", "/-/ready"):
            until(lambda ready=ready: _answers(client, ready), 30)
        yield Monitoring(client)


def _write(folder: Path, *, alerts: str, exporter: str, webhook: str) -> None:
    rules = (SHIPPED / "monitoring-rules.yml").read_text(encoding="utf-8")
    (folder / "monitoring-rules.yml").write_text(re.sub(r"for: \w+", f"for: {HOLD}", rules))
    text = (SHIPPED / "prometheus.yml").read_text(encoding="utf-8")
    text = text.replace("127.0.0.1:9093", alerts).replace("127.0.0.1:3200", exporter)
    text = re.sub(r"(\w+_interval): \w+", r"\1: 1s", text)
    (folder / "prometheus.yml").write_text(text)
    content = yaml.safe_load((SHIPPED / "alertmanager.yml").read_text(encoding="utf-8"))
    content["route"] |= {"group_wait": "1s", "group_interval": "1s"}
    for receiver in content["receivers"]:
        receiver["webhook_configs"][0]["url"] = f"{webhook}/{receiver['name']}"
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(content))


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def _started(folder: Path, program: str, *options: str) -> Iterator[None]:
    with (folder / f"{program}.log").open("wb") as log:
        process = subprocess.Popen([program, *options], cwd=folder, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
