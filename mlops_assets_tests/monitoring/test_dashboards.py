"""Grafana's dashboards: of the type that Grafana has for them, and of expressions that parse."""

import json
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from mlops_assets_tests.monitoring.expressions import DASHBOARDS, dashboard, of_dashboards

PACKAGES = ("@grafana/schema@13.2.3", "typescript@5.9.3")
CHECK = ("--noEmit", "--strict", "--skipLibCheck", "--lib", "es2020", "--module", "esnext",
         "--moduleResolution", "bundler")  # fmt: skip


def test_there_is_one_of_the_endpoints_and_one_of_the_platform() -> None:
    assert [path.stem for path in DASHBOARDS] == ["endpoints", "platform"]


def test_every_expression_parses(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    rules = [{"record": f"panel:{i}", "expr": each} for i, each in enumerate(of_dashboards())]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(rules)} rules found" in done.stdout


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_have_their_place_and_ask_for_the_chosen_experiment(path: Path) -> None:
    content = dashboard(path)
    panels = content["panels"]
    ids = [panel["id"] for panel in panels]
    assert len({*ids}) == len(ids)
    variables = [each["name"] for each in content["templating"]["list"]]
    assert variables == ["datasource", "experiment"]
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        assert (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        ), (one, other)
    for panel in panels:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for target in panel["targets"]:
            of_platform = "mlops_platform" in target["expr"] or "looked" in target["expr"]
            assert ("$experiment" in target["expr"]) != of_platform
            assert target["datasource"]["uid"] == "${datasource}"


@pytest.mark.peer
def test_grafana_has_a_type_for_them(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    done = subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"its types cannot be fetched: {done.stderr.strip()[-200:]}")
    head = 'import type { Dashboard } from "@grafana/schema";\nexport const it: Dashboard = '
    for path in DASHBOARDS:
        (tmp_path / f"{path.stem}.ts").write_text(head + path.read_text(encoding="utf-8"))
    wrong = {**dashboard(DASHBOARDS[0]), "schemaVersion": "newest"}
    (tmp_path / "wrong.ts").write_text(head + json.dumps(wrong))
    command = ["node", "node_modules/typescript/bin/tsc", *CHECK]
    names = [f"{path.stem}.ts" for path in DASHBOARDS]
    checked = subprocess.run(
        [*command, *names, "wrong.ts"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    errors = checked.stdout.splitlines()
    assert len(errors) == 1, checked.stdout
    assert errors[0].startswith("wrong.ts")
    assert "'string' is not assignable to type 'number'" in errors[0]
