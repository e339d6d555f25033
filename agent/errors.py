"""Errors of asking a model.

AgentError            code, message, hint, details, as every error of a script has them
+-- ModelNotConfigured   there is no model: which settings it needs
+-- ModelRefused         it will not answer, or the endpoint will not take the request: asking again does not help
+-- ModelUnavailable     it does not answer now (retryable)
+-- InvalidAnswer        it answered, and the answer cannot be used, however often it was asked
+-- RequestTooLarge      more text than may be sent
"""

from script.errors import ScriptError


class AgentError(ScriptError):
    """Base of the errors here."""

    code = "agent_error"


class ModelNotConfigured(AgentError):
    code = "model_not_configured"


class ModelRefused(AgentError):
    code = "model_refused"


class ModelUnavailable(AgentError):
    code = "model_unavailable"
    retryable = True


class InvalidAnswer(AgentError):
    code = "invalid_answer"


class RequestTooLarge(AgentError):
    code = "too_large"
