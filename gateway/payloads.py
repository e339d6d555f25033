"""A codec endpoint as Temporal's web page and command line ask for it: payloads in, the same payloads encrypted or decrypted out."""

import base64
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter
from google.protobuf import json_format
from pydantic import BaseModel, ConfigDict, EncodedBytes, EncoderProtocol, Field
from temporalio.api.common.v1 import Payload, Payloads

from activities.payloads import SETTING, PayloadCodec, PayloadUnreadable
from gateway.problems import ApiError
from gateway.services import Here, Services

router = APIRouter(prefix="/codec", tags=["codec"])
PATHS: Final = frozenset({"/codec/encode", "/codec/decode"})
"""What Temporal's web page may ask from a browser."""


class _Base64(EncoderProtocol):
    """Strict, where the usual one leaves out what is no base64."""

    @classmethod
    def decode(cls, data: bytes) -> bytes:
        return base64.b64decode(data, validate=True)

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return base64.b64encode(value)

    @classmethod
    def get_json_format(cls) -> Literal["base64"]:
        return "base64"


Bytes = Annotated[bytes, EncodedBytes(encoder=_Base64)]


class CodecPayload(BaseModel):
    """A payload as JSON: all bytes in base64."""

    model_config = ConfigDict(extra="forbid")

    metadata: dict[str, Bytes] = Field(default_factory=dict)
    data: Bytes = b""

    def payload(self) -> Payload:
        return Payload(metadata=self.metadata, data=self.data)


class CodecRequest(BaseModel):
    """Payloads."""

    model_config = ConfigDict(extra="forbid")

    payloads: list[CodecPayload]


@router.post("/encode")
async def encode(here: Here, body: CodecRequest) -> dict[str, Any]:
    """Encrypt payloads, as those of a run are: `{payloads: [{metadata, data}]}`."""
    return _told(await _codec(here).encode([one.payload() for one in body.payloads]))


@router.post("/decode")
async def decode(here: Here, body: CodecRequest) -> dict[str, Any]:
    """Decrypt payloads; those that are not encrypted come as they are."""
    try:
        return _told(await _codec(here).decode([one.payload() for one in body.payloads]))
    except PayloadUnreadable as error:  # nothing is wrong with the gateway: it is the caller who brings it
        raise ApiError(error.code, error.message, hint=error.hint, status=422) from None


def _told(payloads: list[Payload]) -> dict[str, Any]:
    told: dict[str, Any] = json_format.MessageToDict(Payloads(payloads=payloads))
    return {"payloads": [], **told}


def _codec(here: Services) -> PayloadCodec:
    codec = here.client.data_converter.payload_codec
    if not isinstance(codec, PayloadCodec):
        raise ApiError("no_payload_keys", "payloads are not encrypted here", hint=f"set {SETTING}")
    return codec
