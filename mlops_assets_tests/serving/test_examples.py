"""The examples that people are given do what the page says."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mlops_assets_tests.serving.callers import served, service_of

PAGE = Path(__file__).parents[2] / "wiki" / "serving.md"
SECTION = re.search(r"^## HTTP$.*?(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.M | re.S)
BLOCKS = re.findall(r"```bash\n(.*?)```", SECTION.group(), re.S)


@pytest.fixture(scope="module")
def url(binary):
    with served(service_of(binary, keys=frozenset({"secret"}))) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("block", BLOCKS)
def test_examples_are_answered(url, block):
    # Every line that asks is asked with the key, which most examples leave out.
    asked = block.replace("curl -s ", 'curl -s -w "\\n" -H "x-api-key: $KEY" ')
    done = subprocess.run(
        ["bash", "-euc", asked],
        env={**os.environ, "URL": url, "KEY": "secret", "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == block.count("curl -s ")
    errors = [answer["error"] for answer in answers if "error" in answer]
    assert errors == (["wrong_type"] if '"tenure": "5"' in block else [])


def test_every_refusal_is_listed():
    from mlops_assets import serving

    sources = [path.read_text(encoding="utf-8") for path in Path(serving.__path__[0]).glob("*.py")]
    words = {
        word
        for source in sources
        for word in re.findall(r"bad\(\s*\"(\w+)\"|RequestError\(\s*400,\s*\"(\w+)\"", source)
    }
    reasons = {word for pair in words for word in pair if word} - {"disconnected"}
    assert len(reasons) > 8
    assert [word for word in sorted(reasons) if f"`{word}`" not in SECTION.group()] == []
