"""A thread in the part of a cluster's kube-proxy: a port of 127.0.0.1 that leads to the pods of a
Service, as its endpoints say, a moment late."""

import random
import select
import socket
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from mlops_assets_tests.peers.kubernetes import Cluster


@contextmanager
def leading_to(
    cluster: Cluster, namespace: str, service: str, *, every: float = 0.2
) -> Iterator[str]:
    """The URL. New connections go to the pods that were ready at the last look."""
    core, ends, pods = client.CoreV1Api(cluster.api), Event(), []

    def look() -> None:
        try:
            found = core.read_namespaced_endpoints(service, namespace)
        except ApiException as error:
            if error.status != 404:
                raise
            pods[:] = []
            return
        pods[:] = [
            (address.ip, port.port)
            for subset in found.subsets or ()
            for address in subset.addresses or ()
            for port in subset.ports or ()
        ]

    def watch() -> None:
        while not ends.wait(every):
            look()

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            here = list(pods)
            if not here:
                return
            with socket.create_connection(random.choice(here), timeout=10) as there:
                _pipe(self.request, there)

    look()
    with _Server(("127.0.0.1", 0), Forward) as server:
        threads = [Thread(target=one, daemon=True) for one in (watch, server.serve_forever)]
        for thread in threads:
            thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            ends.set()
            server.shutdown()
            for thread in threads:
                thread.join(30)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128


def _pipe(one: socket.socket, other: socket.socket) -> None:
    """Both ways, until either side closes."""
    for end in (one, other):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    beyond = {one: other, other: one}
    while True:
        for end in select.select([one, other], [], [])[0]:
            try:
                data = end.recv(65536)
                if not data:
                    return
                beyond[end].sendall(data)
            except OSError:
                return
