"""What Temporal keeps of runs, encrypted: it schedules them, and need not read them.

codec.py     the codec, and the data converter that gateways and workers connect with
routes.py    /codec/encode and /codec/decode, for Temporal's web page
origins.py   which pages may ask them from a browser
"""

from gateway.payloads.codec import PayloadCodec, PayloadUnreadable, create_data_converter
from gateway.payloads.origins import Origins

__all__ = ["Origins", "PayloadCodec", "PayloadUnreadable", "create_data_converter"]
