"""What Temporal keeps of runs, encrypted: it schedules them, and need not read them.

codec.py     the codec, and the data converter that gateways and workers connect with
routes.py    /codec/encode and /codec/decode, for Temporal's web page
"""

from gateway.payloads.codec import PayloadCodec, PayloadUnreadable, create_data_converter

__all__ = ["PayloadCodec", "PayloadUnreadable", "create_data_converter"]
