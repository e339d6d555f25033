"""Settings: from the environment, complete in the documentation, and never silently misread."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from settings import Settings, UnknownSetting, connect_options
from toolbox import HttpPolicy


def test_defaults_are_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Settings()
    assert found.host == "127.0.0.1"
    assert not found.allow_remote
    assert found.smtp() is None


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOP_PORT", "0")
    monkeypatch.setenv("SOP_SMTP_URL", "smtp+starttls://me:p%40ss@mail.example.com:2525")
    monkeypatch.setenv("SOP_SMTP_FROM", "shop@example.com")
    monkeypatch.setenv("SOP_SMTP_RECIPIENTS", "a@example.com, @example.org")
    found = Settings()
    assert found.port == 0
    smtp = found.smtp()
    assert smtp is not None
    assert (smtp["host"], smtp["port"], smtp["password"], smtp["use_tls"]) == ("mail.example.com", 2525, "p@ss", True)
    assert smtp["recipients"] == ("a@example.com", "@example.org")
    assert "p@ss" not in repr(found)
    for name, value in found.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == found


def test_a_typo_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOP_DATADIR", "x")
    with pytest.raises(UnknownSetting, match="did you mean SOP_DATA_DIR"):
        Settings()


def test_webhooks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().webhooks() == {"secrets": {}, "hosts": ()}
    monkeypatch.setenv("SOP_WEBHOOK_SECRETS", "default=whsec_AAAA==, other=whsec_BBBB")
    monkeypatch.setenv("SOP_WEBHOOK_HOSTS", "*.Example.com")
    found = Settings()
    assert found.webhooks() == {
        "secrets": {"default": "whsec_AAAA==", "other": "whsec_BBBB"}, "hosts": ("*.example.com",),
    }  # fmt: skip
    assert "AAAA" not in repr(found)
    for name, wrong in (
        ("SECRETS", "default"),
        ("SECRETS", "a=b"),
        ("SECRETS", "a=whsec_x,a=whsec_y"),
    ):
        with monkeypatch.context() as changed:
            changed.setenv(f"SOP_WEBHOOK_{name}", wrong)
            with pytest.raises(ValueError):
                Settings().webhooks()


def test_the_hosts_that_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().allowed_hosts() == ()
    monkeypatch.setenv("SOP_HTTP_ALLOW", "Crm.internal, [::1]:8080,")
    assert HttpPolicy.allowing(Settings().allowed_hosts()).allowed == {"crm.internal", "[::1]:8080"}
    monkeypatch.setenv("SOP_HTTP_ALLOW", "crm.internal,10.0.0.0/8")
    with pytest.raises(ValueError, match=r"SOP_HTTP_ALLOW is hosts.*'10.0.0.0/8' is none"):
        HttpPolicy.allowing(Settings().allowed_hosts())


def test_a_wrong_value_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOP_PORT", "99999")
    with pytest.raises(ValidationError):
        Settings()


def test_temporals_own_configuration_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert connect_options(Settings())["target_host"] == "127.0.0.1:7233"
    monkeypatch.setenv("TEMPORAL_ADDRESS", "cluster.example.com:7233")
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "prod")
    options = connect_options(Settings())
    assert (options["target_host"], options["namespace"]) == ("cluster.example.com:7233", "prod")


def test_secrets_are_known_for_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOP_SMTP_URL", "smtp://me:p%40ssword@mail:25")
    monkeypatch.setenv("SOP_OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("SOP_WEBHOOK_SECRETS", "a=whsec_x, b=whsec_y")
    found = set(Settings().secrets())
    assert found >= {"smtp://me:p%40ssword@mail:25", "p%40ssword", "p@ssword", "sk-1", "whsec_x", "whsec_y"}
    assert "" not in found
    monkeypatch.setenv("SOP_SECRETS_KEYS", "k1=QUFB==,k2=QkJC")
    assert set(Settings().secrets()) >= {"QUFB==", "QkJC"}


def test_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().openai() is None
    monkeypatch.setenv("SOP_OPENAI_MODEL", "small")
    assert Settings().openai() is None, "neither a key nor an endpoint"
    monkeypatch.setenv("SOP_OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    for text, wanted in (("auto", None), ("native", True), ("schema", False)):
        monkeypatch.setenv("SOP_OPENAI_TOOL_CALLING", text)
        assert Settings().openai() == {
            "base_url": "http://127.0.0.1:1/v1", "api_key": None, "model": "small", "tool_calling": wanted,
            "input_price": None, "output_price": None,
        }  # fmt: skip
    monkeypatch.setenv("SOP_OPENAI_INPUT_PRICE", "0.25")
    assert (Settings().openai() or {})["input_price"] == 0.25
    for name, wrong in (("TOOL_CALLING", "never"), ("INPUT_PRICE", "-1")):
        with monkeypatch.context() as changed:
            changed.setenv(f"SOP_OPENAI_{name}", wrong)
            with pytest.raises(ValidationError):
                Settings()


def test_every_setting_is_documented() -> None:
    text = (Path(__file__).parents[1] / "docs" / "settings.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        assert f"| `SOP_{name.upper()}` |" in text
        assert field.description
        assert field.description in text
