"""Which assets a change reaches."""

from dataclasses import replace

from mlops_assets.training.staleness import Known, judge

SOURCE = Known("source", (), "s1", "s1", "d1", {}, version_now="d1")
FEATURES = Known("features", ("source",), "f1", "f1", "d2", {"source": "d1"})
MODEL = Known("model", ("features",), "m1", "m1", "d3", {"features": "d2"})


def verdicts(*assets):
    return {one.name: one.why for one in judge(assets)}


def test_nothing_changed():
    assert {one.stale for one in judge([SOURCE, FEATURES, MODEL])} == {False}


def test_new_data_reaches_everything():
    assert verdicts(replace(SOURCE, version_now="d9"), FEATURES, MODEL) == {
        "source": "the data changed",
        "features": "made from source, which will change",
        "model": "made from features, which will change",
    }


def test_another_way_to_the_same_data_reaches_nothing():
    found = verdicts(replace(SOURCE, code="s2"), FEATURES, MODEL)
    assert found["source"] == "its part of the YAML changed"
    assert found["features"] == found["model"] == "up to date"


def test_an_edit_reaches_what_is_made_from_it():
    found = verdicts(SOURCE, replace(FEATURES, code="f2"), MODEL)
    assert found["source"] == "up to date"
    assert found["features"] == "its part of the YAML changed"
    assert found["model"] == "made from features, which will change"


def test_what_was_made_alone_leaves_the_rest_behind():
    found = verdicts(SOURCE, replace(FEATURES, made_version="d8"), MODEL)
    assert found["features"] == "up to date"
    assert found["model"] == "features changed since"


def test_what_was_never_made_and_what_is_unfinished():
    never = replace(MODEL, made_code=None, made_version="", inputs={})
    assert verdicts(SOURCE, FEATURES, never)["model"] == "never made"
    unfinished = replace(FEATURES, unfinished="3 trials to run")
    assert verdicts(SOURCE, unfinished, MODEL) == {
        "source": "up to date",
        "features": "3 trials to run",
        "model": "made from features, which will change",
    }
