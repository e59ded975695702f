import socket
import time

import pytest

from mlops_assets.gateways import tracking_uri


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql+psycopg2://u:s3c@ret@host:5432/db", "postgresql+psycopg2://host:5432/db"),
        ("https://user:token@mlflow.example.org/a", "https://mlflow.example.org/a"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("sqlite:///folder/a@b.db", "sqlite:///folder/a@b.db"),
    ],
)
def test_people_see_no_password(uri, shown):
    assert tracking_uri.shown(uri) == shown


def test_what_is_no_server_is_not_asked():
    for uri in ("sqlite:////tmp/mlflow.db", "file:///tmp/mlruns", "databricks://profile"):
        assert tracking_uri.unreachable(uri) == tracking_uri.refused(uri) == ""


def test_a_database_that_never_answers_is_told_of(monkeypatch):
    monkeypatch.setattr(tracking_uri, "SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"postgresql+psycopg2://u:s3cret@127.0.0.1:{silent.getsockname()[1]}/db"
        assert tracking_uri.unreachable(uri) == ""
        began = time.monotonic()
        assert "timeout expired" in (said := tracking_uri.refused(uri))
    assert time.monotonic() - began < 20
    assert "s3cret" not in said
