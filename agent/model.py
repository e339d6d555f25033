"""OpenAIModel: chat completions of any OpenAI-compatible endpoint. The only module that imports `openai`.

A schema whose root is an object is sent as `response_format`, for endpoints that hold the model to it; one that does not know that answers
400, and is asked once more without. Either way the schema stands in the messages, and the answer is validated by whoever asked.
Nothing is tried again here: who drives the step does that (an error that may pass is `model_unavailable`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import openai
from openai.types.chat import ChatCompletion

from agent.errors import ModelNotConfigured, ModelRefused, ModelUnavailable
from agent.protocol import Message, Reply, Usage

SECONDS: Final = 120.0
"""How long one request may take."""
_KEYLESS: Final = "none"
"""What stands for the key where an endpoint of one's own wants none."""


class OpenAIModel:
    """A model behind an OpenAI-compatible endpoint (`base_url`; without one, OpenAI's own). `model` is the one that is asked usually."""

    def __init__(
        self, *, base_url: str | None, api_key: str | None, model: str | None, seconds: float = SECONDS
    ) -> None:
        self._model = model
        self._client = openai.OpenAI(
            base_url=base_url or "https://api.openai.com/v1",
            api_key=api_key or _KEYLESS,
            max_retries=0,
            timeout=seconds,
        )

    def complete(self, messages: Sequence[Message], schema: Mapping[str, Any] | None, model: str | None) -> Reply:
        """See `agent.protocol.Model`."""
        name = model or self._model
        if name is None:
            raise ModelNotConfigured("no model is named", hint="set SOP_OPENAI_MODEL, or give the step a model")
        try:
            done = self._request(name, messages, schema)
        except (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError) as error:
            raise ModelUnavailable(f"the model {name} does not answer now: {_told(error)}") from error
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise ModelRefused(
                f"the model's endpoint refused the key: {_told(error)}", hint="check SOP_OPENAI_API_KEY"
            ) from error
        except openai.APIStatusError as error:
            passing = error.status_code in (408, 409, 425)
            raise (ModelUnavailable if passing else ModelRefused)(
                f"the model {name} refused the request: {_told(error)}"
            ) from error
        except openai.OpenAIError as error:
            raise ModelUnavailable(f"the model {name} gave no answer: {_told(error)}") from error
        return _reply(done, name)

    def _request(self, name: str, messages: Sequence[Message], schema: Mapping[str, Any] | None) -> ChatCompletion:
        sent: Any = [{"role": message.role, "content": message.content} for message in messages]
        if schema is None or schema.get("type") != "object":
            return self._client.chat.completions.create(model=name, messages=sent)
        wanted: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema)}}
        try:
            return self._client.chat.completions.create(model=name, messages=sent, response_format=wanted)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if "response_format" not in str(error) and "schema" not in str(error):
                raise
            return self._client.chat.completions.create(model=name, messages=sent)


def _reply(done: ChatCompletion, name: str) -> Reply:
    if not done.choices:
        raise ModelUnavailable(f"the model {name} gave no answer: the response has no choices")
    choice = done.choices[0]
    if choice.message.refusal or choice.finish_reason == "content_filter":
        raise ModelRefused(f"the model {name} will not answer: {choice.message.refusal or 'its content filter'}")
    used = done.usage
    usage = Usage(used.prompt_tokens, used.completion_tokens) if used is not None else Usage()
    return Reply(choice.message.content or "", usage, done.model or name, choice.finish_reason == "length")


def _told(error: openai.OpenAIError) -> str:
    return str(error)[:500] or type(error).__name__
