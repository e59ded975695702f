"""YAML in, experiment or a line for every fault out."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlops_assets.experiment import loader
from mlops_assets.experiment.loader import ExperimentError

GOOD = """\
name: churn
description: Who leaves.
owner: team:data
task: binary_classification
features:
  source:
    kind: csv
    path: data.csv
  target: Churn
  positive: Yes
tuning:
  n_trials: 10
  search_space:
    learning_rate: {type: float, low: 1e-3, high: 0.1, log: true}
    max_depth: {type: int, low: 2, high: 9}
training:
  estimator: sklearn.ensemble.HistGradientBoostingClassifier
deployment:
  targets:
    - kind: local
"""


def write(folder: Path, text: str, name: str = "churn.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def faults(folder: Path, text: str) -> list[str]:
    """The problems of a text, without the folder in front."""
    path = write(folder, text)
    with pytest.raises(ExperimentError) as raised:
        loader.load(path)
    return [problem.replace(str(path), path.name) for problem in raised.value.problems]


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_reads_an_experiment_by_yaml_1_2(tmp_path):
    experiment = loader.load(write(tmp_path, GOOD))
    assert experiment.features.positive == "Yes"
    assert experiment.tuning.search_space["learning_rate"].low == 0.001
    assert experiment.path == tmp_path / "churn.yaml"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("No", "No"),
        ("on", "on"),
        ("true", True),
        ("1", 1),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("2024-01-31", "2024-01-31"),
        ("12:30:45", "12:30:45"),
        ('"1"', "1"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(tmp_path, written, value):
    text = changed("positive: Yes", f"positive: {written}")
    read = loader.load(write(tmp_path, text)).features.positive
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "low: 2, high: 9",
            "low: 9, high: 3",
            "15: tuning.search_space.max_depth: bounds reversed: low (9) is above high (3)",
        ),
        (
            "n_trials: 10",
            "n_trials: many",
            "12: tuning.n_trials: 'many' is not a whole number",
        ),
        (
            "n_trials: 10",
            "n_trials: 0",
            "12: tuning.n_trials: should be greater than or equal to 1, not 0",
        ),
        (
            "type: int",
            "type: integer",
            "15: tuning.search_space.max_depth.type: 'integer' is not allowed (did you mean "
            "'int'?); allowed: float, int, categorical",
        ),
        (
            "{type: int, ",
            "{",
            "15: tuning.search_space.max_depth.type: missing; one of: float, int, categorical",
        ),
        (
            "n_trials: 10",
            "metric: rmse",
            "12: tuning.metric: 'rmse' does not fit the task binary_classification; allowed: "
            "roc_auc, average_precision, log_loss, brier, calibration_error, accuracy, "
            "balanced_accuracy, f1, precision, recall",
        ),
        (
            "task: binary_classification",
            "task: binary_clasification",
            "4: task: 'binary_clasification' is not allowed (did you mean "
            "'binary_classification'?); allowed: binary_classification, "
            "multiclass_classification, regression",
        ),
        (
            "  n_trials: 10",
            "  n_trails: 10",
            "12: tuning.n_trails: unknown key (did you mean 'n_trials'?); known keys: metric, "
            "n_trials, timeout_minutes, workers, seed, pruning, search_space",
        ),
        ("    - kind: local", "    []", "19: deployment.targets: needs at least 1, has 0"),
        (
            "  positive: Yes",
            "  exclude: customerID",
            "10: features.exclude: 'customerID' is not a list",
        ),
        (
            "  positive: Yes",
            "  split: {kind: time}",
            "10: features.split: split kind 'time' needs event_time, the column to split on",
        ),
        (
            "  n_trials: 10",
            "  timeout_minutes: soon",
            "12: tuning.timeout_minutes: 'soon' is not a number",
        ),
        (
            "training:",
            "training:\n  threshold: high",
            "17: training.threshold: 'high' is neither one of f1, balanced_accuracy, accuracy, "
            "nor a number",
        ),
        (
            "training:",
            "registry: {promotion: {metrics: {roc_au: {floor: 0.8}}}}\ntraining:",
            "16: registry.promotion.metrics.roc_au: 'roc_au' is not allowed (did you mean "
            "'roc_auc'?); allowed: roc_auc,",
        ),
        (
            "name: churn",
            "name: Churn-1",
            "1: name: 'Churn-1' is not allowed; Prefix of every asset",
        ),
        ("description: Who leaves.\n", "", "1: description: missing; What is predicted and why"),
        (
            "  n_trials: 10",
            "  n_trials: 10\n  n_trials: 11",
            "13: n_trials: this key already stands",
        ),
        ("deployment:", "7: x\ndeployment:", "18: 7: this key is no text"),
        ("task: binary_classification", "task: regression", "10: features.positive: "),
        (
            "training:",
            "training:\n  parameters: {max_depth: 3}",
            "max_depth stands both in tuning.search_space and training.parameters",
        ),
        (
            "deployment:",
            "monitoring: {expectations: {Churn: {missing: 0.1}}}\ndeployment:",
            "monitoring.expectations: 'Churn' is never a feature",
        ),
        (
            "deployment:",
            "monitoring: {expectations: {tenure: {minimum: 3, maximum: 1}}}\ndeployment:",
            "18: monitoring.expectations.tenure.minimum: minimum (3) is above maximum (1)",
        ),
        (
            "deployment:",
            "monitoring: {expectations: {tenure: {values: [1], minimum: 1}}}\ndeployment:",
            "values are of a column of categories, minimum and maximum of one of numbers",
        ),
        (
            "deployment:",
            "monitoring: {expectations: {tenure: {mising: 0.1}}}\ndeployment:",
            "18: monitoring.expectations.tenure.mising: unknown key (did you mean 'missing'?)",
        ),
    ],
)
def test_a_fault_is_named_with_line_key_value_and_what_is_allowed(tmp_path, old, new, expected):
    (fault,) = faults(tmp_path, changed(old, new))
    assert fault.startswith("churn.yaml:")
    assert expected in fault


def test_a_wrong_kind_is_answered_with_the_list(tmp_path):
    (fault,) = faults(tmp_path, changed("kind: csv", "kind: cvs"))
    assert "churn.yaml:7: features.source.kind: 'cvs' is not allowed (did you mean 'csv'?)" in fault
    assert "parquet" in fault


def test_an_unknown_key_of_a_plug_in_is_found_without_its_tag(tmp_path):
    (fault,) = faults(tmp_path, changed("path: data.csv", "path: data.csv\n    pathh: x"))
    assert "churn.yaml:9: features.source.pathh: unknown key (did you mean 'path'?)" in fault


def test_all_faults_come_at_once_in_order_of_their_lines(tmp_path):
    text = GOOD.replace("team:data", "me").replace("n_trials: 10", "n_trials: -1")
    text = text.replace("estimator: sklearn", "estimator: joblib").replace("name: churn", "name: C")
    lines = [int(fault.split(":")[1]) for fault in faults(tmp_path, text)]
    assert lines == [1, 3, 12, 17]


def test_a_missing_section_is_named_with_what_it_is_for(tmp_path):
    (fault,) = faults(tmp_path, GOOD[: GOOD.index("deployment:")])
    where = "Where the champion is served, and how a new one gets there."
    assert fault == f"churn.yaml:1: deployment: missing; {where}"


def test_the_password_of_a_url_is_not_shown(tmp_path):
    text = changed("n_trials: 10", "n_trials: postgresql://me:hunter2@db/x")
    (fault,) = faults(tmp_path, text)
    assert "hunter2" not in fault
    assert "postgresql://***@db/x" in fault


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1: empty; an experiment is a mapping"),
        ("# nothing\n", "1: empty"),
        ("- a\n- b\n", "1: ['a', 'b'] is no experiment"),
        ("name: churn\ntuning:\n\tn_trials: 1\n", "3: not YAML:"),
        ("name: [a, b\ntask: x\n", "2: not YAML:"),
        ("name: a\n---\nname: b\n", "2: not YAML:"),
        ("name: !!python/object/apply:os.getcwd []\n", "1: not YAML:"),
        ("name: *nowhere\n", "1: not YAML:"),
        ("name: a\x00b\n", "1: not YAML:"),
        ("a: !!int many\n", "1: "),
        ("{" * 5000, "not YAML"),
    ],
)
def test_what_is_no_yaml_is_named_with_its_line(tmp_path, text, expected):
    (fault,) = faults(tmp_path, text)
    assert expected in fault
    assert "\n" not in fault


def test_tabs_are_named(tmp_path):
    (fault,) = faults(tmp_path, "tuning:\n\tn_trials: 1\n")
    assert "indent with spaces, not tabs" in fault
    assert "n_trials: 1" in fault


def test_a_file_that_is_not_utf_8_is_named_with_its_line(tmp_path):
    path = tmp_path / "churn.yaml"
    path.write_bytes(b"name: churn\ndescription: f\xfcr alle\n")
    with pytest.raises(ExperimentError, match=r"churn.yaml:2: not UTF-8: byte 0xfc"):
        loader.load(path)


def test_a_byte_order_mark_is_no_fault(tmp_path):
    path = tmp_path / "churn.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert loader.load(path).name == "churn"


def test_anchors_and_merges_are_followed(tmp_path):
    text = changed(
        "    max_depth: {type: int, low: 2, high: 9}\n",
        "    max_depth: &range {type: int, low: 2, high: 9}\n"
        "    max_bins:\n      <<: *range\n      high: 1\n",
    )
    (fault,) = faults(tmp_path, text)
    assert fault == (
        "churn.yaml:16: tuning.search_space.max_bins: bounds reversed: low (2) is above high (1)"
    )


def test_load_all_reads_a_folder_in_order_of_file_name(tmp_path):
    write(tmp_path, GOOD.replace("name: churn", "name: b"), "a.yml")
    write(tmp_path, GOOD.replace("name: churn", "name: a"), "b.yaml")
    write(tmp_path, "{", ".hidden.yaml")
    write(tmp_path, "{", "schema.json")
    assert [each.name for each in loader.load_all(tmp_path)] == ["b", "a"]


def test_load_all_tells_the_faults_of_all_files(tmp_path):
    write(tmp_path, GOOD.replace("team:data", "me"), "a.yaml")
    write(tmp_path, "- x", "b.yaml")
    write(tmp_path, GOOD, "c.yaml")
    with pytest.raises(ExperimentError) as raised:
        loader.load_all(tmp_path)
    assert [Path(p.split(":")[0]).name for p in raised.value.problems] == ["a.yaml", "b.yaml"]


@pytest.mark.parametrize(
    "second",
    [GOOD, GOOD.replace("name: churn", "name: other") + "registry: {model_name: churn}\n"],
)
def test_two_experiments_cannot_share_a_name(tmp_path, second):
    write(tmp_path, GOOD, "a.yaml")
    write(tmp_path, second, "b.yaml")
    with pytest.raises(ExperimentError) as raised:
        loader.load_all(tmp_path)
    (fault,) = raised.value.problems
    assert "b.yaml:" in fault
    assert "'churn' is already the name in" in fault
    assert "a.yaml" in fault


def test_a_missing_folder_or_file_is_named(tmp_path):
    with pytest.raises(ExperimentError, match="no such folder"):
        loader.load_all(tmp_path / "nowhere")
    with pytest.raises(ExperimentError, match="no such file"):
        loader.load(tmp_path / "nowhere.yaml")


def test_three_hundred_files_load_fast(tmp_path):
    for number in range(300):
        write(tmp_path, GOOD.replace("name: churn", f"name: e{number}"), f"e{number}.yaml")
    began = time.perf_counter()
    assert len(loader.load_all(tmp_path)) == 300
    # Measured 0.1 s; the bound leaves room for a busy machine.
    assert time.perf_counter() - began < 2.0


def test_the_schema_describes_every_key_and_refuses_others():
    schema = loader.schema()
    assert schema["title"] == "mlops_assets experiment"
    assert schema["additionalProperties"] is False
    undescribed = [
        f"{name}.{key}"
        for name, section in schema["$defs"].items()
        for key, field in section.get("properties", {}).items()
        if key not in ("kind", "type", "when")
        and "description" not in field
        and "$ref" not in field
    ]
    assert undescribed == []


def test_the_schema_text_is_the_same_in_every_process(tmp_path):
    path = tmp_path / "configs" / "schema.json"
    loader.write_schema(path)
    program = "from mlops_assets.experiment import loader; print(loader.schema_text(), end='')"
    again = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, timeout=60
    )
    assert again.stdout == path.read_bytes()
    assert json.loads(path.read_text())["required"][:2] == ["name", "description"]
    assert [entry.name for entry in path.parent.iterdir()] == ["schema.json"]
