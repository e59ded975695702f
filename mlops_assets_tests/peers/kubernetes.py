"""A Kubernetes on this machine: the one that KUBECONFIG names, or one started for the tests.

KUBE_PEER names a folder with the program `kube` (`up DIR [--node]`, `load DIR TAR`, `down DIR`).
Only clusters on loopback are touched.
"""

import fcntl
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from kubernetes import client, config

from mlops_assets_tests.peers.missing import MissingError, folder_in, needed

CONTROL_PLANE = ("kubectl", "etcd", "openssl", "curl")
NODE = ("containerd", "ctr", "runc", "iptables", "ip", "sysctl", "podman", "/usr/lib/cni/bridge")
NODE_FOLDER = "mlops-node-"
PATIENCE = 120


@dataclass(frozen=True)
class Cluster:
    """A running cluster."""

    kubeconfig: Path
    no_node: str
    """Why no pod can really run; empty when one can."""
    importer: tuple[str, ...]
    """The command that brings an image archive, its last argument, into the node."""
    machine: str = ""
    """The address that pods have for this machine, where that is known before there are pods."""

    @property
    def api(self) -> client.ApiClient:
        return config.new_client_from_config(config_file=str(self.kubeconfig))

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def kubectl(self, *arguments: str, stdin: str = "", timeout: float = PATIENCE) -> str:
        """What it prints.

        Raises:
            RuntimeError: it failed; with what it said.
        """
        return _output(["kubectl", *arguments], env=self.environment, stdin=stdin, timeout=timeout)

    def apply(self, *manifests: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def load(self, archive: Path) -> None:
        """Bring an image (`containers.Containers.save`) into the node."""
        _output([*self.importer, str(archive)], env=self.environment, timeout=300)

    @contextmanager
    def namespace(self, name: str, *, wait: bool = True) -> Iterator[str]:
        """One of a test's own. It may be going for a while after the test; and its pods as well,
        unless their end is waited for."""
        own = f"{name}-{random.randrange(16**6):06x}"
        self.kubectl("create", "namespace", own)
        try:
            # Without it no pod is let in.
            self._await_account(own)
            yield own
        finally:
            # Pods first, while whoever ends them is there.
            all_of = ("deployment,job,pod", "--all", f"-n={own}", "--grace-period=5")
            self.kubectl("delete", *all_of, f"--wait={str(wait).lower()}")
            self.kubectl("delete", "namespace", own, "--wait=false")

    def _await_account(self, namespace: str) -> None:
        core = client.CoreV1Api(self.api)
        end = time.monotonic() + PATIENCE
        while not core.list_namespaced_service_account(namespace).items:
            assert time.monotonic() < end, f"{namespace} gets no service account"
            time.sleep(0.05)

    def kubeconfig_of(self, account: str, namespace: str, file: Path) -> Path:
        """Written to `file`: that of a service account, for an hour."""
        asked = client.AuthenticationV1TokenRequest(
            spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=3600)
        )
        core = client.CoreV1Api(self.api)
        given = core.create_namespaced_service_account_token(account, namespace, asked)
        content = yaml.safe_load(self.kubeconfig.read_text())
        for user in content["users"]:
            user["user"] = {"token": given.status.token}
        file.write_text(yaml.safe_dump(content))
        return file

    @contextmanager
    def forwarded(self, what: str, port: int, *, namespace: str) -> Iterator[str]:
        """The URL under which a pod (`pod/name`) or a service's first pod answers here."""
        command = ["kubectl", "port-forward", f"-n={namespace}", "--address=127.0.0.1"]
        process = subprocess.Popen(
            [*command, what, f":{port}"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            said = process.stdout.readline()
            assert said.startswith("Forwarding from"), said
            yield f"http://{said.split()[2]}"
        finally:
            process.terminate()
            process.wait(20)
            process.stdout.close()


@contextmanager
def running(*, node: bool) -> Iterator[Cluster]:
    """A cluster; with `node` one in which pods run, where this machine can have it.

    Raises:
        MissingError: with what there should be.
    """
    needed("kubectl", for_what="Kubernetes")
    if given := os.environ.get("KUBECONFIG"):
        yield _given(Path(given))
        return
    folder = folder_in("KUBE_PEER")
    if folder is None:
        raise MissingError("Kubernetes: neither KUBECONFIG nor KUBE_PEER says where it is")
    needed(*CONTROL_PLANE, str(folder / "kube"), for_what="Kubernetes")
    with _alone(node=node) as no_node, _started(folder / "kube", no_node) as cluster:
        yield cluster


def _given(kubeconfig: Path) -> Cluster:
    if not kubeconfig.is_file():
        raise MissingError(f"KUBECONFIG names {kubeconfig}, which is not there")
    content = yaml.safe_load(kubeconfig.read_text())
    context = content.get("current-context", "")
    hosts = {urlsplit(one["cluster"]["server"]).hostname for one in content.get("clusters", [])}
    if not hosts or not hosts <= {"127.0.0.1", "localhost", "::1"}:
        raise MissingError(f"{kubeconfig} leads to {hosts}: tests touch clusters on loopback only")
    importer = ("kind", "load", "image-archive", f"--name={context.removeprefix('kind-')}")
    lacks = (
        ""
        if shutil.which("kind") and context.startswith("kind-")
        else (f"{kubeconfig}: only kind's clusters, by its program, are known to take images")
    )
    return Cluster(kubeconfig, lacks, importer, "" if lacks else _gateway_of_kind())


def _gateway_of_kind() -> str:
    """This machine in the network of kind's nodes, which are containers."""
    said = _output(["docker", "network", "inspect", "kind"], env={**os.environ}, timeout=20)
    gateways = [each.get("Gateway", "") for each in json.loads(said)[0]["IPAM"]["Config"]]
    return next(address for address in gateways if "." in address)


@contextmanager
def _alone(*, node: bool) -> Iterator[str]:
    """Why there can be no node, or nothing, and then no other one of this machine's tests."""
    if not node:
        yield "this cluster was started without a node"
        return
    try:
        if os.geteuid() != 0:
            raise MissingError("a Kubernetes node needs root")
        needed(*NODE, for_what="a Kubernetes node")
    except MissingError as error:
        yield str(error)
        return
    # Nodes share a bridge and the machine's network tables.
    with (Path(tempfile.gettempdir()) / "mlops-kube-node.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield ""


@contextmanager
def _started(kube: Path, no_node: str) -> Iterator[Cluster]:
    if not no_node:
        for left in Path(tempfile.gettempdir()).glob(f"{NODE_FOLDER}*"):
            _ended(kube, left)  # its test session was killed, and would be in the way of this one
    # Not pytest's tmp_path: a socket's path is short.
    prefix = "mlops-kube-" if no_node else NODE_FOLDER
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    environment = {**os.environ, "KUBE_PORT": str(_port())}
    options = [] if no_node else ["--node"]
    try:
        if not no_node:
            _make_pause_image()
        _output([str(kube), "up", str(folder), *options], env=environment, timeout=PATIENCE)
        yield Cluster(folder / "kubeconfig", no_node, (str(kube), "load", str(folder)))
    finally:
        _ended(kube, folder)


def _ended(kube: Path, folder: Path) -> None:
    _output([str(kube), "down", str(folder)], env={**os.environ}, timeout=PATIENCE)
    _unmount(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _make_pause_image() -> None:
    """Podman makes the image of its first pod; a node takes it for its own."""
    from mlops_assets_tests.peers import containers

    with containers.found() as podman:
        name = f"mlops-pause-{os.getpid()}"
        podman.run("pod", "create", "--name", name)
        try:
            podman.run("pod", "start", name)
        finally:
            podman.run("pod", "rm", "-f", name)


def _unmount(folder: Path) -> None:
    """What pods that were killed left."""
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for path in reversed([path for path in mounted if path.startswith(f"{folder}/")]):
        subprocess.run(["umount", "-l", path], capture_output=True, timeout=20)


def _port() -> int:
    """One with those that `kube` derives from it: all free."""
    for _ in range(100):
        port = random.randrange(16_500, 20_000)
        if all(_free(port + near) for near in (0, 2, 3, -4000, -3999, -6193)):
            return port
    raise MissingError("no ports are free for Kubernetes")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _output(command: list[str], *, env: dict[str, str], timeout: float, stdin: str = "") -> str:
    done = subprocess.run(
        command, env=env, input=stdin, capture_output=True, text=True, timeout=timeout
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done.stdout
