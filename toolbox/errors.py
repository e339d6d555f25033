"""Errors of tools: two kinds matter to the caller, *fix your call* and *give up*; `retryable` says whether trying again may help."""

from collections.abc import Sequence
from typing import Any


class ToolError(Exception):
    """Base of the errors here."""

    code = "tool_error"
    retryable = False

    def __init__(self, message: str, *, pointer: str | None = None, hint: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.pointer = pointer
        self.hint = hint
        self.details = details

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: code, message, retryable, and pointer, hint, details where there are any."""
        found: dict[str, Any] = {"code": self.code, "message": self.message, "retryable": self.retryable}
        for name in ("pointer", "hint", "details"):
            if getattr(self, name):
                found[name] = getattr(self, name)
        return found


class Forbidden(ToolError):
    """Whoever asks has not the scopes that this takes: `details` has `what` takes them, and the `scopes` that are missing, as texts."""

    code = "forbidden"

    def __init__(self, message: str, *, what: str, scopes: Sequence[str]) -> None:
        super().__init__(message, what=what, scopes=list(scopes))
        self.scopes = tuple(scopes)

    @property
    def places(self) -> list[dict[str, Any]]:
        """What is missing, one by one: {pointer, detail, code, scope}."""
        what = self.details["what"]
        return [
            {
                "pointer": "Authorization",
                "detail": f"{what} takes the scope {scope}",
                "code": self.code,
                "scope": scope,
            }
            for scope in self.scopes
        ]


class UnknownTool(ToolError):
    code = "unknown_tool"


class UnknownCommand(ToolError):
    code = "unknown_command"


class InvalidArguments(ToolError):
    code = "invalid_arguments"


class NoDatabase(ToolError):
    code = "no_database"


class UnreachableDatabase(ToolError):
    code = "unreachable_database"


class ReservedStore(ToolError):
    code = "reserved_store"


class ToolNotConfigured(ToolError):
    code = "tool_not_configured"


class SecretNotFound(ToolError):
    code = "secret_not_found"


class SecretRefused(ToolError):
    code = "secret_refused"


class SecretUnreadable(ToolError):
    code = "secret_unreadable"


class RecipientRefused(ToolError):
    code = "recipient_refused"


class MailRefused(ToolError):
    code = "mail_refused"


class MailDelayed(ToolError):
    code = "mail_delayed"
    retryable = True


class AddressRefused(ToolError):
    code = "address_refused"


class HttpUnavailable(ToolError):
    code = "http_unavailable"
    retryable = True


class HttpInterrupted(ToolError):
    code = "http_interrupted"


class ResponseTooLarge(ToolError):
    code = "response_too_large"


class WebhookRefused(ToolError):
    code = "webhook_refused"


class WebhookDelayed(ToolError):
    code = "webhook_delayed"
    retryable = True


class ScriptNotFound(ToolError):
    code = "script_not_found"


class VersionNotFound(ToolError):
    code = "version_not_found"


class DraftNotFound(ToolError):
    code = "draft_not_found"


class SessionNotFound(ToolError):
    code = "session_not_found"


class NoSession(ToolError):
    code = "no_session"


class NoDraft(ToolError):
    code = "no_draft"


class NotRecording(ToolError):
    code = "not_recording"


class RecordingExists(ToolError):
    code = "recording_exists"


class NothingToUndo(ToolError):
    code = "nothing_to_undo"


class DraftInvalid(ToolError):
    """A draft that cannot be used as it is: `details` has its `problems`."""

    code = "draft_invalid"


class InUse(ToolError):
    code = "in_use"


class RevisionNotFound(ToolError):
    code = "revision_not_found"


class TooManyDrafts(ToolError):
    """`details` has the `limit`."""

    code = "too_many_drafts"


class DraftChanged(ToolError):
    """Somebody else was faster: `details` has the draft's `revision`, and `by` whom and `at` which time it was made."""

    code = "draft_changed"
