"""Settings: read from the environment once, by entry points, and passed down.

Every setting is a variable with the prefix SOP_ (`docs/settings.md` lists them). An unknown SOP_ variable is an error with the
nearest known name: a typo must not become a default. How to reach Temporal follows the SDK's own environment variables and
configuration file (TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS..., profiles); SOP_TEMPORAL_ADDRESS is
only what is used where those say nothing.
"""

import json
import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from temporalio.envconfig import ClientConfig

PREFIX = "SOP_"
CLIENT_VARIABLES = ("SOP_URL", "SOP_API_KEY", "SOP_PROFILE")
"""Read by the command line's client, not by servers."""


class UnknownSetting(ValueError):
    """An environment variable that begins with SOP_ and means nothing."""


class Settings(BaseSettings):
    """All settings. Frozen."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    data_dir: Path = Field(Path(".sop"), description="where databases, keys and the server's state are kept")
    temporal_address: str = Field(
        "127.0.0.1:7233", description="Temporal, where the SDK's own configuration says nothing"
    )
    temporal_namespace: str = Field("default", description="Temporal's namespace, likewise")
    temporal_ui: str = Field("http://127.0.0.1:8233", description="Temporal's web page, for links")
    task_queue: str = Field("sop", description="the task queue of runs: one for each data directory")
    host: str = Field("127.0.0.1", description="the address that the gateway listens on")
    port: int = Field(8080, ge=0, le=65535, description="the gateway's port; 0 takes a free one")
    allow_remote: bool = Field(False, description="needed for listening on anything but loopback")
    allowed_origins: str = Field(
        "",
        description="origins of web pages elsewhere that may use the API from a browser, as https://app.example, divided by commas",
    )
    smtp_url: SecretStr | None = Field(None, description="smtp://user:password@host:port, or smtp+starttls://...")
    smtp_from: str | None = Field(None, description="the sender of mails")
    smtp_recipients: str = Field(
        "", description="if set: the only addresses or @domains that get mail, divided by commas"
    )
    http_allow: str = Field(
        "",
        description="hosts (or host:port) that `http_request` and webhooks may reach although their addresses are private, webhooks also "
        "without TLS, divided by commas",
    )
    openai_base_url: str | None = Field(None, description="an OpenAI-compatible endpoint, for `ask` steps and sessions")
    openai_api_key: SecretStr | None = Field(None, description="its key; an endpoint of one's own may need none")
    openai_model: str | None = Field(None, description="the model that is asked, unless a step names another")
    openai_tool_calling: Literal["auto", "native", "schema"] = Field(
        "auto",
        description="how the model calls tools: native is the endpoint's own tool calling, schema is JSON that satisfies a schema; "
        "auto finds out",
    )
    openai_input_price: float | None = Field(
        None,
        ge=0,
        description="what a million tokens cost that the model reads, in any currency; for the cost of sessions",
    )
    openai_output_price: float | None = Field(
        None, ge=0, description="what a million tokens cost that the model writes"
    )
    session_tokens: int = Field(
        1_000_000, ge=1, le=1_000_000, description="tokens that the model may cost in one session, at most"
    )
    turn_rounds: int = Field(16, ge=1, le=16, description="requests to the model in one turn of a session, at most")
    turn_calls: int = Field(48, ge=1, le=48, description="tool calls in one turn of a session, at most")
    turn_seconds: int = Field(600, ge=1, le=600, description="how long one turn of a session may take")
    webhook_secrets: SecretStr | None = Field(
        None, description="the secrets that webhooks are signed with: name=whsec_..., divided by commas"
    )
    secrets_keys: SecretStr | None = Field(
        None,
        description="the keys that secrets are encrypted with: id=<32 bytes in base64>, divided by commas; the first encrypts; without it, "
        "that of the file secrets-key of the data directory",
    )
    payload_keys: SecretStr | None = Field(
        None,
        description="if set: what Temporal keeps of runs is encrypted with the first of these keys: id=<32 bytes in base64>, divided by "
        "commas; the others still decrypt",
    )
    webhook_hosts: str = Field(
        "", description="if set: the only hosts that get webhooks, divided by commas; *.example.com is every name below"
    )
    notice_seconds: float = Field(
        10, gt=0, description="how often a worker looks for ended runs of schedules, and sends notices about them"
    )
    retention_seconds: float = Field(86_400, ge=0, description="old versions of databases are kept for so many seconds")
    history_bytes: int = Field(
        1 << 30, ge=0, description="old versions go earlier when they alone take more than this, for each database"
    )
    sweep_seconds: float = Field(
        60, gt=0, description="how often a worker ends abandoned transactions and gives space back"
    )
    transaction_lease_seconds: float = Field(
        604_800, gt=0, description="an open transaction of a run is rolled back so many seconds after its last step"
    )
    audit_days: float = Field(90, gt=0, le=36_500, description="entries of the audit log are kept for so many days")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="what is logged")
    log_format: Literal["text", "json"] = Field(
        "text", description="how it is logged, to stderr: text for people, or a JSON object a line"
    )
    gateway_metrics: str | None = Field(
        None, description="host:port on which a gateway serves its figures to Prometheus, at /metrics; without it, none"
    )
    worker_metrics: str | None = Field(
        None, description="the same for a worker; each worker of a machine needs a port of its own"
    )
    min_free_bytes: int = Field(
        256 << 20, ge=0, description="with less room on the data directory's disk the gateway is not ready"
    )
    drain_seconds: int = Field(
        10, ge=1, description="a gateway that is stopped gives requests and streams so long to end"
    )

    mcp_hosts: str = Field(
        "", description="names by which clients reach `/mcp` beside those of loopback, divided by commas"
    )
    mcp_origins: str = Field(
        "", description="web pages that may use `/mcp`, divided by commas: https://app.example.com; by default none"
    )

    rate_limit: float = Field(300, ge=0, description="requests a second of one key, at each gateway; 0: no limit")
    rate_burst: int = Field(3000, ge=1, description="requests that a key may send at once before that")
    auth_failures_per_minute: float = Field(
        60, ge=0, description="requests without a valid key from one address, at each gateway; 0: no limit"
    )
    oidc_issuer: str | None = Field(None, description="whose bearer tokens are taken beside API keys, as in `iss`")
    oidc_audience: str | None = Field(None, description="the gateway's own name in `aud`; needed with an issuer")
    oidc_jwks_url: str | None = Field(None, description="the issuer's key set; by default its own description says")
    oidc_algorithms: str = Field("RS256,ES256", description="asymmetric algorithms, divided by commas")
    oidc_claim: str = Field("scope", description="the claim that says what a token may do; dots lead into objects")
    oidc_scopes: str = Field(
        "", description='what its values allow, as JSON: {"analysts": ["data:*:read", "runs:read"]}'
    )
    oidc_name_claim: str = Field("sub", description="the claim with the name that approvals ask for")
    oidc_skew_seconds: float = Field(30, ge=0, le=300, description="by how much clocks may differ")

    def __init__(self, **values: Any) -> None:
        _refuse_unknown()
        super().__init__(**values)

    def smtp(self) -> dict[str, Any] | None:
        """How mail gets out: the fields of toolbox.SmtpSettings; None if it is not configured."""
        if self.smtp_url is None or self.smtp_from is None:
            return None
        url = urlsplit(self.smtp_url.get_secret_value())
        if url.scheme not in ("smtp", "smtp+starttls") or not url.hostname:
            raise ValueError("SOP_SMTP_URL is smtp://host:port or smtp+starttls://user:password@host:port")
        return {
            "host": url.hostname,
            "port": url.port or 587,
            "sender": self.smtp_from,
            "username": unquote(url.username) if url.username else None,
            "password": unquote(url.password) if url.password else None,
            "use_tls": url.scheme == "smtp+starttls",
            "recipients": _parts(self.smtp_recipients),
        }

    def origins(self) -> frozenset[str]:
        """The origins of `allowed_origins`. Raises ValueError for what is none."""
        found = _parts(self.allowed_origins)
        for origin in found:
            url = urlsplit(origin)
            if url.scheme not in ("http", "https") or not url.hostname or origin != f"{url.scheme}://{url.netloc}":
                raise ValueError(f"SOP_ALLOWED_ORIGINS has origins as https://app.example, and not {origin!r}")
        return frozenset(found)

    def allowed_hosts(self) -> tuple[str, ...]:
        """The hosts of `http_allow`, for toolbox.HttpPolicy.allowing."""
        return _parts(self.http_allow)

    def keys(self, name: str) -> str | None:
        """The text of a setting with keys: `secrets_keys`, `payload_keys`."""
        found: SecretStr | None = getattr(self, name)
        return found.get_secret_value() if found is not None else None

    def names(self, text: str) -> tuple[str, ...]:
        """The parts of a list that is divided by commas."""
        return _parts(text)

    def oidc(self) -> dict[str, Any] | None:
        """Whose tokens are taken: the fields of gateway.access.tokens.TokenSettings, and `jwks_url`; None if there is no issuer.
        `scopes` are as they were read. Raises ValueError."""
        if self.oidc_issuer is None:
            return None
        if self.oidc_audience is None:
            raise ValueError("SOP_OIDC_ISSUER needs SOP_OIDC_AUDIENCE: tokens for others must not be taken")
        try:
            scopes = json.loads(self.oidc_scopes or "{}")
        except ValueError as error:
            raise ValueError(f"SOP_OIDC_SCOPES is no JSON: {error}") from None
        return {
            "issuer": self.oidc_issuer,
            "audience": self.oidc_audience,
            "jwks_url": self.oidc_jwks_url,
            "algorithms": _parts(self.oidc_algorithms),
            "claim": self.oidc_claim,
            "scopes": scopes,
            "name_claim": self.oidc_name_claim,
            "skew": self.oidc_skew_seconds,
        }

    def openai(self) -> dict[str, Any] | None:
        """The language model: the arguments of agent.model.OpenAIModel; None if it is not configured."""
        key = self.openai_api_key.get_secret_value() if self.openai_api_key is not None else None
        if self.openai_model is None or (key is None and self.openai_base_url is None):
            return None
        calling = {"auto": None, "native": True, "schema": False}[self.openai_tool_calling]
        return {
            "base_url": self.openai_base_url,
            "api_key": key,
            "model": self.openai_model,
            "tool_calling": calling,
            "input_price": self.openai_input_price,
            "output_price": self.openai_output_price,
        }

    def session_limits(self) -> dict[str, int]:
        """The budgets of a session: the fields of toolbox.authoring.state.Limits."""
        return {
            "rounds": self.turn_rounds,
            "calls": self.turn_calls,
            "tokens": self.session_tokens,
            "seconds": self.turn_seconds,
        }

    def webhooks(self) -> dict[str, Any]:
        """Who gets webhooks: the fields of toolbox.WebhookSettings. Raises ValueError for what is none."""
        text = self.webhook_secrets.get_secret_value() if self.webhook_secrets else ""
        secrets: dict[str, str] = {}
        for part in _parts(text):
            name, sign, secret = part.partition("=")
            if not sign or not name or not secret.startswith("whsec_") or name in secrets:
                raise ValueError("SOP_WEBHOOK_SECRETS is name=whsec_..., divided by commas, each name once")
            secrets[name] = secret
        hosts = tuple(host.lower() for host in _parts(self.webhook_hosts))
        return {"secrets": secrets, "hosts": hosts}

    def secrets(self) -> tuple[str, ...]:
        """The values that no log may have: those of the secret settings, and what they are made of."""
        found = [value.get_secret_value() for _, value in self if isinstance(value, SecretStr)]
        password = urlsplit(self.smtp_url.get_secret_value()).password if self.smtp_url is not None else None
        keyed = (self.webhook_secrets, self.secrets_keys, self.payload_keys)
        named = [value.get_secret_value() for value in keyed if value is not None]
        found += [password, unquote(password)] if password else []
        found += [part.partition("=")[2] for text in named for part in _parts(text)]
        return tuple(secret for secret in found if secret)

    def environment(self) -> dict[str, str]:
        """These settings as variables for a child process."""
        found: dict[str, str] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is not None and value != "":
                plain = value.get_secret_value() if isinstance(value, SecretStr) else value
                found[PREFIX + name.upper()] = str(plain)
        return found


def connect_options(settings: Settings) -> dict[str, Any]:
    """The arguments of `temporalio.client.Client.connect`: the SDK's own configuration, and ours for what it does not say.

    Raises ValueError for a configuration that cannot be read (a file, a profile, a certificate), and for an API key that would be sent
    to another machine without TLS.
    """
    try:
        options: dict[str, Any] = dict(ClientConfig.load_client_connect_config())
    except (RuntimeError, OSError, ValueError) as error:
        raise ValueError(f"the configuration of Temporal's client cannot be read: {error}") from error
    options.setdefault("target_host", settings.temporal_address)
    options.setdefault("namespace", settings.temporal_namespace)
    if options.get("api_key") and not options.get("tls") and not _is_local(options["target_host"]):
        raise ValueError(f"the API key for {options['target_host']} would be sent without TLS: TEMPORAL_TLS is off")
    return options


def traces_wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether OpenTelemetry's standard variables ask for traces: an endpoint of OTLP, or `otlp` as the exporter of traces.

    Raises ValueError for what is asked for and not there: other exporters, other protocols.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = {part.strip() for part in environ.get("OTEL_TRACES_EXPORTER", "").split(",")} - {""}
    if exporters - {"otlp", "none"}:
        raise ValueError(f"OTEL_TRACES_EXPORTER is otlp or none, not {environ['OTEL_TRACES_EXPORTER']!r}")
    endpoints = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    if "none" in exporters or not (exporters or any(environ.get(name) for name in endpoints)):
        return False
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if environ.get(name, "http/protobuf") != "http/protobuf":
            raise ValueError(f"{name} is http/protobuf, not {environ[name]!r}")
    return True


def _is_local(address: str) -> bool:
    host = urlsplit(f"//{address}").hostname or ""
    return host in ("localhost", "127.0.0.1", "::1")


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _refuse_unknown() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | set(CLIENT_VARIABLES)
    for name in os.environ:
        if name.startswith(PREFIX) and name not in known:
            near = get_close_matches(name, known, n=1)
            raise UnknownSetting(f"there is no setting {name}" + (f": did you mean {near[0]}?" if near else ""))
