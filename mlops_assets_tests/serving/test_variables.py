"""What the variables of a container and a function mean."""

import pytest

from mlops_assets.serving import variables
from mlops_assets.serving.recording import Recording
from mlops_assets.serving.variables import SettingError


def test_one_that_is_empty_is_absent():
    assert variables.given({"MLOPS_BUNDLE_DIGEST": ""}, "bundle-digest") is None
    assert variables.given({"MLOPS_BUNDLE_DIGEST": "ab"}, "bundle-digest") == "ab"


def test_keys_that_are_empty_are_not():
    assert variables.key_variable({"MLOPS_KEYS": ""}) == "MLOPS_KEYS"
    assert variables.key_variable({}) is None


def test_recording_is_json():
    text = '{"profiles_url": "s3://b/p", "window_seconds": 60, "log_columns": ["a"]}'
    assert variables.recording(text) == Recording("s3://b/p", 60, log_columns=("a",))
    assert variables.recording("") is None


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"profiles_url": "p"}', '{"unknown": 1}'])
def test_what_is_no_recording_is_refused(text):
    with pytest.raises(SettingError, match="MLOPS_RECORDING does not say what is recorded"):
        variables.recording(text)


def test_dimensions_are_json():
    assert variables.embedded_metrics('{"Endpoint": "e"}') == {"Endpoint": "e"}
    assert variables.embedded_metrics(None) is None


@pytest.mark.parametrize("text", ["{", "[]", "1", '{"Endpoint": 1}', '{"Endpoint": ""}'])
def test_what_holds_no_dimensions_is_refused(text):
    with pytest.raises(SettingError, match="MLOPS_EMBEDDED_METRICS is"):
        variables.embedded_metrics(text)


def test_limits():
    given = {"MLOPS_MAX_ROWS": "5", "MLOPS_MAX_BODY_MB": "0.5", "MLOPS_MAX_IN_FLIGHT": ""}
    assert variables.limits(given) == {"max_rows": 5, "max_body_bytes": 500_000}


@pytest.mark.parametrize("text", ["many", "inf", "nan"])
def test_a_limit_that_is_no_number_is_refused(text):
    with pytest.raises(SettingError, match="MLOPS_MAX_ROWS is"):
        variables.limits({"MLOPS_MAX_ROWS": text})
