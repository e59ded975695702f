"""A program that stands in for ours where only the platform is tested: it starts at once, answers
the golden requests of its bundle and no other, and refuses a bundle it was not asked for.

Started as a program: `python -m mlops_assets_tests.peers.sagemaker_stand_in`.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mlops_assets.serving import bundle

FAIL = "FAIL"
"""A file in the model's folder; while it is there, requests are answered with 500."""


def program(place: Any) -> tuple[list[str], dict[str, str]]:
    """As a container of the peer starts it."""
    return [sys.executable, "-m", __spec__.name, str(place.model), str(place.port)], {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path

    def do_GET(self) -> None:
        self._answer(200, {})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        records = asked.get("dataframe_records") or asked.get("instances", [])
        if (self.folder / FAIL).exists():
            self._answer(500, {"error": "internal", "message": "as the test wants it"})
            return
        golden = bundle.read_golden(self.folder)
        if any(record not in golden.records for record in records):
            self._answer(400, {"error": "not_golden", "message": "only golden records"})
            return
        places = [list(golden.records).index(record) for record in records]
        said = {
            "predictions": [golden.predictions[place] for place in places],
            "probabilities": [golden.probabilities[place] for place in places],
            "version": os.environ["MLOPS_VERSION"],
        }
        self._answer(200, said)

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    Handler.folder = Path(sys.argv[1])
    bundle.verify(Handler.folder)
    if bundle.digest(Handler.folder) != os.environ["MLOPS_BUNDLE_DIGEST"]:
        sys.exit("another bundle")
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()


if __name__ == "__main__":
    main()
