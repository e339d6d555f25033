"""Who may call, and what.

frame.py            RequestFrame: the frame of every request      keys.py     Keys: API keys, hashed
authentication.py   Authentication: default deny                  notes.py    Notes: last uses and the audit log, written later
routes.py           the scope that each route takes               audit.py    the audit log
limits.py           Limits: how often                             tokens.py   Tokens: those of an identity provider
sessions.py         Sessions: cookies of browsers, for keys       providers.py   its keys
origins.py          whose pages may ask; CORS                     validity.py   Validity: streams end with their keys

What a key may do, and what a script takes, is asked below the gateway too: `toolbox.access`.
"""

from gateway.access.authentication import Authentication
from gateway.access.frame import RequestFrame
from gateway.access.keys import Keys
from gateway.access.limits import Limits, create_limits
from gateway.access.notes import Notes
from gateway.access.origins import Cors
from gateway.access.routes import PUBLIC, ROUTES, UndeclaredRoute, about, access_of, changes_nothing, guarded
from gateway.access.sessions import Sessions
from gateway.access.tokens import Tokens
from gateway.access.validity import Credential, Validity, credential_of

__all__ = [
    "PUBLIC",
    "ROUTES",
    "Authentication",
    "Cors",
    "Credential",
    "Keys",
    "Limits",
    "Notes",
    "RequestFrame",
    "Sessions",
    "Tokens",
    "UndeclaredRoute",
    "Validity",
    "about",
    "access_of",
    "changes_nothing",
    "create_limits",
    "credential_of",
    "guarded",
]
