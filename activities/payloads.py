"""Payloads, encrypted: arguments, results, signals, memos, summaries and the texts of failures, before they leave this process.

    metadata    encoding: binary/encrypted, encryption-key-id: the id of the key
    data        a nonce, and the whole payload under AES-256-GCM

What is not a payload stays readable: ids, names of activities, search attributes (script, version, database, trigger), error codes, times.
What was written before there were keys is read as it is, so encryption can be switched on while runs are under way.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from google.protobuf.message import DecodeError
from temporalio import converter
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import (
    PydanticJSONPlainPayloadConverter,
    PydanticPayloadConverter,
    pydantic_data_converter,
)
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, EncodingPayloadConverter

from toolbox import ToolError
from toolbox.vault import Keyring, Unreadable

ENCODING: Final = "binary/encrypted"
KEY_ID: Final = "encryption-key-id"
SETTING: Final = "SOP_PAYLOAD_KEYS"
_ABOUT: Final = b"temporal payload"
_HINT: Final = f"{SETTING} of every gateway and worker has the keys of all runs that Temporal keeps"


class PayloadUnreadable(ToolError):
    """A payload that none of the keys opens."""

    code = "payload_unreadable"


class PayloadCodec(converter.PayloadCodec):
    """Encrypts with the current key, decrypts with any."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """See temporalio.converter.PayloadCodec."""
        return [self._encrypted(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """See temporalio.converter.PayloadCodec. Raises PayloadUnreadable."""
        return [self._decrypted(payload) for payload in payloads]

    def _encrypted(self, payload: Payload) -> Payload:
        key, data = self._keyring.encrypt(payload.SerializeToString(), _ABOUT)
        return Payload(metadata={"encoding": ENCODING.encode(), KEY_ID: key.encode()}, data=data)

    def _decrypted(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING.encode():
            return payload
        key = payload.metadata.get(KEY_ID, b"").decode("utf-8", "replace")
        try:
            return Payload.FromString(self._keyring.decrypt(key, payload.data, _ABOUT))
        except (Unreadable, DecodeError) as error:
            raise PayloadUnreadable(f"a payload cannot be read: {error}", hint=_HINT) from None


class _NoKeys(EncodingPayloadConverter):
    """In the place of a codec: says why an encrypted payload cannot be read."""

    @property
    def encoding(self) -> str:
        return ENCODING

    def to_payload(self, value: Any) -> Payload | None:
        return None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        raise PayloadUnreadable(f"a payload is encrypted, and {SETTING} is not set here", hint=_HINT)


_JSON: Final = PydanticJSONPlainPayloadConverter()
"""One for all: a workflow makes a payload converter of its own for each run, which would build the validators of all types anew."""


class _PayloadConverter(PydanticPayloadConverter):
    def __init__(self) -> None:
        super().__init__()
        self.converters = {**self.converters, _JSON.encoding.encode(): _JSON, ENCODING.encode(): _NoKeys()}


def create_data_converter(keys: str | None) -> DataConverter:
    """The data converter of everything that speaks with Temporal; with `keys` payloads are encrypted. Raises ValueError."""
    plain = replace(pydantic_data_converter, payload_converter_class=_PayloadConverter)
    if keys is None:
        return plain
    codec = PayloadCodec(Keyring.parse(keys, SETTING))
    return replace(plain, payload_codec=codec, failure_converter_class=DefaultFailureConverterWithEncodedAttributes)
