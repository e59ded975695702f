"""Which deliveries are believed, held against MLflow's own signature."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.webhooks import delivery as mlflow_delivery

from mlops_assets.gateways import webhooks
from mlops_assets.gateways.model_registry import ModelRegistry, RegistryError
from mlops_assets.gateways.webhooks import FRESH_SECONDS, WebhookError, signature, verify

SECRET = "a secret of some length"
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
EVENT = {"entity": "model_version_alias", "action": "created", "data": {"name": "churn"}}
BODY = json.dumps(EVENT).encode()


def headers(body: bytes = BODY, *, at: datetime = NOW, secret: str = SECRET) -> dict[str, str]:
    stamp = str(int(at.timestamp()))
    return {
        "x-mlflow-signature": signature(secret, "one", stamp, body),
        "X-MLflow-Delivery-Id": "one",
        "X-MLFLOW-TIMESTAMP": stamp,
    }


def refusal(sent: dict[str, str], body: bytes = BODY) -> int:
    with pytest.raises(WebhookError) as refused:
        verify(sent, body, secret=SECRET, now=NOW)
    return refused.value.status


def test_what_mlflow_signed_is_believed() -> None:
    found = verify(headers(), BODY, secret=SECRET, now=NOW)
    assert (found.id, found.event) == ("one", "model_version_alias.created")


@given(st.text(min_size=1), st.text(), st.integers(0, 10**11), st.text())
def test_our_signature_is_that_of_mlflow(secret: str, name: str, at: int, body: str) -> None:
    theirs = mlflow_delivery._generate_hmac_signature  # what its server signs with
    encodable = body.encode("utf-8", "ignore").decode()
    key, name = (text.encode("utf-8", "ignore").decode() for text in (secret, name))
    ours = signature(key, name, str(at), encodable.encode())
    assert ours == theirs(key, name, str(at), encodable)


@given(st.sampled_from(["body", *headers()]), st.data())
def test_whatever_is_changed_is_a_forgery(part: str, data: st.DataObject) -> None:
    sent, body = headers(), BODY
    if part == "body":
        body = data.draw(st.binary().filter(lambda changed: changed != BODY))
    else:
        before = sent[part]
        sent[part] = data.draw(st.text(st.characters(codec="utf-8")).filter(lambda s: s != before))
    assert refusal(sent, body) == 401


@pytest.mark.parametrize("missing", headers())
def test_a_missing_header_is_no_signature(missing: str) -> None:
    assert refusal({k: v for k, v in headers().items() if k != missing}) == 401


@pytest.mark.parametrize("seconds", [-FRESH_SECONDS - 1, FRESH_SECONDS + 1])
def test_an_old_delivery_is_refused_though_its_signature_is_right(seconds: int) -> None:
    assert refusal(headers(at=NOW + timedelta(seconds=seconds))) == 401


@pytest.mark.parametrize("seconds", [-FRESH_SECONDS, FRESH_SECONDS])
def test_clocks_may_differ(seconds: int) -> None:
    sent = headers(at=NOW + timedelta(seconds=seconds))
    assert verify(sent, BODY, secret=SECRET, now=NOW).id == "one"


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[]", b"{}", b'{"entity": 1}', b"\xff", b"7"])
def test_what_was_signed_and_is_no_event_is_malformed(body: bytes) -> None:
    assert refusal(headers(body), body) == 400


@pytest.mark.parametrize("stamp", ["", "soon", "-5", "1e9", "٤٢", "9" * 20])
def test_a_signed_time_that_is_none_is_malformed(stamp: str) -> None:
    sent = {**headers(), "X-MLFLOW-TIMESTAMP": stamp}
    sent["x-mlflow-signature"] = signature(SECRET, "one", stamp, BODY)
    assert refusal(sent) == 400


def test_a_database_sends_no_webhooks() -> None:
    with pytest.raises(RegistryError, match="sent by an MLflow server"):
        webhooks.register(ModelRegistry("sqlite:///nowhere.db", "", ""), "https://there", SECRET)
