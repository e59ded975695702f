"""AWS's own Lambda runtime interface emulator: fetched by package name, one function at a time."""

import http.client
import json
import os
import platform
import time
import zipfile
from contextlib import contextmanager

import environments
from processes import Server
from session import ContenderError, free_port

WHEEL = "aws-sam-cli"
"""The package that ships the emulator's binary."""
RUNTIME = "awslambdaric"
"""The client that a managed runtime brings along, so no part of a package's size."""
INVOKE = "/2015-03-31/functions/function/invocations"
PATIENCE = 60


class Emulator:
    """The binary, and the runtime client beside it."""

    def __init__(self, python, folder):
        self._python = python
        self._runtime = folder / "runtime"
        self._binary = folder / "rie"
        options = ["--quiet", "--no-deps", "--dest", folder, WHEEL]
        environments.run([python, "-m", "pip", "download", *options])
        machine = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
        (wheel,) = folder.glob("aws_sam_cli-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            name = f"samcli/local/rapid/aws-lambda-rie-{machine}"
            self._binary.write_bytes(archive.read(name))
        self._binary.chmod(0o755)
        environments.install(python, [RUNTIME], "--target", self._runtime)

    @contextmanager
    def function(self, handler, package, environment, *, folder, core):
        """A function that nobody has called yet; gives its port."""
        port = free_port()
        listen = [
            "--runtime-interface-emulator-address",
            f"127.0.0.1:{port}",
            "--runtime-api-address",
            f"127.0.0.1:{port + 1}",
        ]
        lambda_environment = {
            "AWS_LAMBDA_FUNCTION_NAME": "bench",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(PATIENCE),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
            "LAMBDA_TASK_ROOT": str(package),
            "PYTHONPATH": f"{package}{os.pathsep}{self._runtime}",
        }
        server = Server(
            [self._binary, "--log-level", "error", *listen, self._python, "-m", RUNTIME, handler],
            environment={**lambda_environment, **environment},
            folder=folder,
            core=core,
        )
        try:
            self._listening(server, port)
            yield port
        finally:
            server.end()

    def _listening(self, server, port):
        end = time.monotonic() + 10
        while time.monotonic() < end and not server.ended():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.connect()
            except OSError:
                time.sleep(0.01)
            else:
                return
            finally:
                connection.close()
        raise ContenderError(f"the emulator does not listen: {server.last_words()}")


def invoke(port, body):
    """The decoded body of the function's answer to a POST of `body`, as API Gateway asks.

    Raises:
        ContenderError: the function failed.
    """
    event = {
        "version": "2.0",
        "rawPath": "/invocations",
        "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "requestContext": {
            "http": {"method": "POST", "path": "/invocations", "sourceIp": "127.0.0.1"}
        },
        "body": body,
        "isBase64Encoded": False,
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("POST", INVOKE, json.dumps(event))
        said = connection.getresponse().read()
    finally:
        connection.close()
    try:
        answer = json.loads(said)
        if answer["statusCode"] == 200:
            return json.loads(answer["body"])
    except (ValueError, TypeError, LookupError) as error:
        raise ContenderError(f"the function failed ({error!r}): {said[:500]!r}") from error
    raise ContenderError(f"the function refused: {said[:500]!r}")
