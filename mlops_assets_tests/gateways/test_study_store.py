import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from mlops_assets.gateways.study_locks import StudyBusyError, StudyStoreError
from mlops_assets.gateways.study_store import StudyStore


@pytest.fixture(
    params=["folder", "file url", "sqlite", pytest.param("postgres", marks=pytest.mark.peer)]
)
def store(request, tmp_path):
    if request.param == "postgres":
        server = request.getfixturevalue("postgresql")
        return StudyStore(server.create(f"studies_{os.urandom(4).hex()}"))
    url = {
        "folder": str(tmp_path / "a" / "studies"),
        "file url": f"file://{tmp_path}/with%20space",
        "sqlite": f"sqlite:///{tmp_path}/b/studies.db",
    }
    return StudyStore(url[request.param])


def add(store, name, value):
    import optuna

    with store.open(name, direction="minimize") as study:
        study.add_trial(optuna.trial.create_trial(value=value))


def test_a_study_is_kept(store):
    add(store, "churn/1", 0.1 + 0.2)
    add(store, "churn/1", 2.0)
    with store.read("churn/1") as study:
        assert [t.value for t in study.trials] == [0.1 + 0.2, 2.0]


def test_a_study_tells_when_it_changed_and_can_be_removed(store):
    import optuna

    began = datetime.now(UTC) - timedelta(seconds=5)
    with store.open("churn/1", direction="minimize") as study:
        study.add_trial(optuna.trial.create_trial(value=1.0))
        assert store.changed("churn/1") > began
        with pytest.raises(StudyBusyError, match="is being written by"):
            store.remove("churn/1")
    add(store, "churn/2", 2.0)
    store.remove("churn/1")
    store.remove("churn/1")
    assert store.names() == ("churn/2",)
    with store.open("empty", direction="minimize"):
        pass
    assert store.changed("empty") < began
    with pytest.raises(StudyStoreError, match="there is no study 'churn/1'"):
        store.changed("churn/1")


def test_names_are_listed(store):
    add(store, "b b", 1.0)
    add(store, "a/1", 1.0)
    assert store.names() == ("a/1", "b b")


def test_an_unknown_study_is_named(store):
    add(store, "known", 1.0)
    with pytest.raises(StudyStoreError, match="no study 'unknown' in"), store.read("unknown"):
        pass
    assert store.names() == ("known",)


def test_one_writer_at_a_time_and_readers_meanwhile(store):
    with store.open("s", direction="minimize"):
        with pytest.raises(StudyBusyError, match="'s' is being written by") as caught:
            add(store, "s", 1.0)
        assert f"process {os.getpid()} on" in str(caught.value) or "postgresql" in store.url
        with store.read("s") as study:
            assert study.trials == []
        add(store, "other", 1.0)
    add(store, "s", 1.0)


def test_the_other_direction_is_refused(store):
    add(store, "s", 1.0)
    with (
        pytest.raises(StudyStoreError, match="made to minimize its score, not to maximize"),
        store.open("s", direction="maximize"),
    ):
        pass


def test_the_lock_ends_with_its_holder(store):
    program = (
        "import sys, os; from mlops_assets.gateways.study_store import StudyStore\n"
        "with StudyStore(sys.argv[1]).open('s', direction='minimize'): os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, store.url], check=False, timeout=60)
    assert done.returncode == -9
    add(store, "s", 1.0)


def test_a_reader_of_a_journal_cannot_write(tmp_path):
    store = StudyStore(str(tmp_path))
    add(store, "s", 1.0)
    with (
        store.read("s") as study,
        pytest.raises(StudyStoreError, match="opened for reading"),
    ):
        study.set_user_attr("a", 1)


def test_a_torn_last_line_is_cut_off(tmp_path):
    store = StudyStore(str(tmp_path))
    add(store, "s", 1.0)
    whole = (tmp_path / "s.journal").read_bytes()
    (tmp_path / "s.journal").write_bytes(whole + b'{"op_code":4,"wor')
    add(store, "s", 2.0)
    assert (tmp_path / "s.journal").read_bytes().startswith(whole)
    with store.read("s") as study:
        assert [t.value for t in study.trials] == [1.0, 2.0]


def test_a_file_that_is_no_journal_is_named(tmp_path):
    (tmp_path / "s.journal").write_text("hello\nworld\n")
    with pytest.raises(StudyStoreError, match=r"s\.journal is not a readable Optuna journal"):
        add(StudyStore(str(tmp_path)), "s", 1.0)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://u:secret@h/d", r"mysql://u:\*\*\*@h/d: 'mysql' is not supported"),
        ("s3://bucket/studies", "'s3' is not supported"),
        ("sqlite://", "in-memory SQLite database keeps nothing"),
        ("postgresql://u:secret@127.0.0.1:1/d", r"postgresql\+psycopg2://u:\*\*\*@127.0.0.1:1/d"),
    ],
)
def test_a_store_that_cannot_be_used_is_explained_without_its_password(url, message):
    with pytest.raises(StudyStoreError, match=message) as caught:
        add(StudyStore(url), "s", 1.0)
    assert "secret" not in str(caught.value)


@pytest.mark.peer
def test_two_processes_may_make_one_postgres_schema_at_once(postgresql):
    check_two_makers(postgresql.create("made_twice"))


def test_two_processes_may_make_one_sqlite_file_at_once(tmp_path):
    check_two_makers(f"sqlite:///{tmp_path}/studies.db")


def check_two_makers(url):
    program = (
        "import sys; from mlops_assets.gateways.study_store import StudyStore\n"
        "with StudyStore(sys.argv[1]).open(sys.argv[2], direction='minimize'): pass"
    )
    command = [sys.executable, "-c", program, url]
    both = [subprocess.Popen([*command, name]) for name in ("a", "b", "c")]
    assert [process.wait(timeout=60) for process in both] == [0, 0, 0]
    assert StudyStore(url).names() == ("a", "b", "c")
