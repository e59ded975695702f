"""What the environment may not say."""

import pytest

from mlops_assets import settings
from mlops_assets.settings import SECRET_CHARACTERS, SettingsError


def test_webhooks_are_off_without_a_secret() -> None:
    assert settings.load({}).webhook_secret == ""


def test_a_secret_is_kept_out_of_sight() -> None:
    found = settings.load({"MLOPS_WEBHOOK_SECRET": "s" * SECRET_CHARACTERS})
    assert found.webhook_secret == "s" * SECRET_CHARACTERS
    assert "ssss" not in repr(found).replace("mlops_assets", "").replace(
        repr(found.environment), ""
    )


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("MLOPS_WEBHOOK_SECRET", "short", "has 5 characters; at least 16"),
        ("MLOPS_EXECUTOR", "threads", "allowed: in_process, kubernetes"),
    ],
)
def test_what_is_not_allowed_is_said_with_what_is(variable: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as refused:
        settings.load({variable: value})
    assert variable in str(refused.value)
