"""OpenAIModel: chat completions of any OpenAI-compatible endpoint. The only module that imports `openai`.

A schema whose root is an object is sent as `response_format`, for endpoints that hold the model to it; one that does not know that answers
400, and is asked once more without. Either way the schema stands in the messages, and the answer is validated by whoever asked.

A conversation with tools is streamed, with the endpoint's own tool calling. Where that is refused (or is not wanted), the tools are told as
text and the answer is JSON that satisfies a schema (`fallback.py`). What an endpoint does not know is remembered for each model.

Nothing is tried again here: who drives the step does that (an error that may pass is `model_unavailable`).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import openai
from openai.types.chat import ChatCompletion

from agent import chat, fallback
from agent.assembly import Assembly, readable
from agent.cost import Prices
from agent.errors import AgentError, ModelNotConfigured, ModelRefused, ModelUnavailable
from agent.listening import listening
from agent.protocol import Message, Reply, Tool, Usage

SECONDS: Final = 120.0
"""How long one request may take; in a stream, how long it may be silent."""
_KEYLESS: Final = "none"
"""What stands for the key where an endpoint of one's own wants none."""
_COUNTED: Final = {"stream_options": {"include_usage": True}}
_NAMES_TOOLS: Final = re.compile(
    r"\btools\b|\btool[ _]choice\b|\btool[ -](use|calls?|calling)\b|\bfunctions\b|\bfunction[ _-]calling\b",
    re.IGNORECASE,
)
_REFUSES_PARTS: Final = frozenset({400, 404, 422, 500, 501})
"""Statuses with which endpoints refuse a part of a request that they do not know (llama.cpp 500, OpenRouter 404)."""


class OpenAIModel:
    """A model behind an OpenAI-compatible endpoint (`base_url`; without one, OpenAI's own). `model` is the one that is asked usually.

    `tool_calling`: True is the endpoint's own and nothing else, False is JSON that satisfies a schema, None finds out. `input_price` and
    `output_price` are those of the usual model (`agent.cost.Prices`).
    """

    def __init__(
        self,
        *,
        base_url: str | None,
        api_key: str | None,
        model: str | None,
        seconds: float = SECONDS,
        tool_calling: bool | None = None,
        input_price: float | None = None,
        output_price: float | None = None,
    ) -> None:
        self._model = model
        self._key = api_key if api_key and len(api_key) >= 8 else None  # a shorter one is a word of any text
        self._prices = Prices(input_price, output_price)
        self._options: dict[str, Any] = {
            "base_url": base_url or "https://api.openai.com/v1",
            "api_key": api_key or _KEYLESS,
            "max_retries": 0,
            "timeout": seconds,
        }
        self._client = openai.OpenAI(**self._options)
        self._tool_calling = tool_calling
        self._without: dict[str, set[str]] = {part: set() for part in ("tools", "stream_options", chat.SIGNATURE)}
        self._schemas_past: dict[str, int] = {}

    def complete(self, messages: Sequence[Message], schema: Mapping[str, Any] | None, model: str | None) -> Reply:
        """See `agent.protocol.Model`."""
        name = self._named(model)
        with self._without_key(), _told_as_ours(name):
            return self._priced(_reply(self._request(name, messages, schema), name), name)

    def converse(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        model: str | None = None,
        *,
        said: Callable[[str], None] = lambda text: None,
    ) -> Reply:
        """See `agent.protocol.Model`. Not to be called in a thread that runs an event loop."""
        name = self._named(model)
        with self._without_key(), _told_as_ours(name):
            return self._priced(listening(self._converse(name, messages, tools, said), said), name)

    @contextmanager
    def _without_key(self) -> Iterator[None]:
        """Errors without the endpoint's key, which some endpoints put into what they say of it."""
        try:
            yield
        except AgentError as error:
            if self._key is None or self._key not in error.message:
                raise
            raise type(error)(error.message.replace(self._key, "(the key)"), hint=error.hint) from None

    def _priced(self, reply: Reply, name: str) -> Reply:
        return replace(reply, cost=self._prices.cost(reply.usage)) if name == self._model else reply

    def _named(self, model: str | None) -> str:
        name = model or self._model
        if name is None:
            raise ModelNotConfigured("no model is named", hint="set SOP_OPENAI_MODEL, or give the step a model")
        return name

    def _request(self, name: str, messages: Sequence[Message], schema: Mapping[str, Any] | None) -> ChatCompletion:
        sent: Any = [chat.sent(message) for message in messages]
        if schema is None or schema.get("type") != "object":
            return self._client.chat.completions.create(model=name, messages=sent)
        try:
            return self._client.chat.completions.create(model=name, messages=sent, response_format=chat.wanted(schema))
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if not _knows_no_schemas(error):
                raise
            return self._client.chat.completions.create(model=name, messages=sent)

    async def _converse(
        self, name: str, messages: Sequence[Message], tools: Sequence[Tool], said: Callable[[str], None]
    ) -> Reply:
        async with openai.AsyncOpenAI(**self._options) as client:
            if not tools or (self._tool_calling is not False and name not in self._without["tools"]):
                try:
                    return await self._stream(client, name, messages, tools, said)
                except openai.APIStatusError as error:
                    if not tools or not _knows_no_tools(error, name):
                        raise
                    if self._tool_calling is True:
                        raise ModelRefused(
                            f"the model {name} calls no tools: {_told(error)}",
                            hint="SOP_OPENAI_TOOL_CALLING=auto does without",
                        ) from error
                    self._without["tools"].add(name)

            async def request(asked: Sequence[Message], schemas: Sequence[Mapping[str, Any]]) -> Reply:
                return await self._constrained(client, name, asked, schemas)

            reply = await fallback.converse(request, messages, tools)
        said(reply.text)
        return reply

    async def _stream(
        self,
        client: openai.AsyncOpenAI,
        name: str,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        said: Callable[[str], None],
    ) -> Reply:
        request: dict[str, Any] = {
            "model": name,
            "messages": [chat.sent(message) for message in messages],
            "stream": True,
        }
        if tools:
            request["tools"] = [chat.offered(tool) for tool in tools]
        found = Assembly(name)
        async with await self._begun(client, name, request) as chunks:
            pieces = aiter(chunks)
            while True:
                with _readable(name):
                    chunk = await anext(pieces, None)
                if chunk is None:
                    return found.reply(messages)
                said(found.add(chunk))

    async def _begun(self, client: openai.AsyncOpenAI, name: str, request: dict[str, Any]) -> Any:
        """The stream of an answer, with what it cost where the endpoint tells it."""
        while True:
            sent = dict(request) if name in self._without["stream_options"] else request | _COUNTED
            if name in self._without[chat.SIGNATURE]:
                sent["messages"] = [chat.unsigned(message) for message in sent["messages"]]
            try:
                return await client.chat.completions.create(**sent)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if not self._learns(name, str(error)):
                    raise

    def _learns(self, name: str, told: str) -> bool:
        """Whether a refusal says what the endpoint does not know, and it was not known before."""
        for word in ("stream_options", chat.SIGNATURE):
            if word in told and name not in self._without[word]:
                self._without[word].add(name)
                return True
        return False

    async def _constrained(
        self, client: openai.AsyncOpenAI, name: str, messages: Sequence[Message], schemas: Sequence[Mapping[str, Any]]
    ) -> Reply:
        """An answer that is held to the first of the schemas that the endpoint can do, or to none."""
        sent: Any = [chat.sent(message) for message in messages]
        for number in range(self._schemas_past.get(name, 0), len(schemas)):
            try:
                wanted = chat.wanted(schemas[number])
                done = await client.chat.completions.create(model=name, messages=sent, response_format=wanted)
                return _reply(done, name)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if not _knows_no_schemas(error):
                    raise
                self._schemas_past[name] = number + 1
        return _reply(await client.chat.completions.create(model=name, messages=sent), name)


@contextmanager
def _told_as_ours(name: str) -> Iterator[None]:
    """The errors of `openai` become those of `agent.errors`."""
    try:
        yield
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


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """What cannot be read in a stream is an answer that did not come."""
    try:
        yield
    except ValueError as error:
        raise ModelUnavailable(f"the answer of the model {name} cannot be read: {error}") from error


def _knows_no_schemas(error: openai.APIStatusError) -> bool:
    return any(word in str(error) for word in ("response_format", "schema", "grammar"))


def _knows_no_tools(error: openai.APIStatusError, name: str) -> bool:
    """Whether an endpoint refused a request because of its tools; the model's own name may have such words."""
    return error.status_code in _REFUSES_PARTS and bool(_NAMES_TOOLS.search(str(error).replace(name, "")))


def _reply(done: ChatCompletion, name: str) -> Reply:
    if not done.choices:
        raise ModelUnavailable(f"the model {name} gave no answer: the response has no choices")
    choice = done.choices[0]
    if choice.message.refusal or choice.finish_reason == "content_filter":
        raise ModelRefused(f"the model {name} will not answer: {choice.message.refusal or 'its content filter'}")
    used = done.usage
    usage = Usage(max(0, used.prompt_tokens), max(0, used.completion_tokens)) if used is not None else Usage()
    return Reply(readable(choice.message.content or ""), usage, done.model or name, choice.finish_reason == "length")


def _told(error: openai.OpenAIError) -> str:
    return str(error)[:500] or type(error).__name__
