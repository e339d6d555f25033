"""Who may call, and what.

frame.py            RequestFrame: the frame of every request      keys.py     Keys: API keys, hashed
authentication.py   Authentication: default deny                  notes.py    Notes: last uses and the audit log, written later
routes.py           the scope that each route takes               audit.py    the audit log
scopes.py           Scope, Access: what a key may do              rights.py   what a script takes
limits.py           Limits: how often                             tokens.py   Tokens: those of an identity provider
                                                                  providers.py   its keys
sessions.py         Sessions: cookies of browsers, for keys       origins.py  whose pages may ask; CORS
"""

from gateway.access.authentication import Authentication
from gateway.access.frame import RequestFrame
from gateway.access.keys import Keys
from gateway.access.limits import Limits, create_limits
from gateway.access.notes import Notes
from gateway.access.origins import Cors
from gateway.access.rights import check_named, check_save, check_start
from gateway.access.routes import PUBLIC, ROUTES, UndeclaredRoute, about, access_of, guarded
from gateway.access.scopes import ADMIN, Access, InvalidScope, Scope, forbidden, parse_scope, parse_scopes
from gateway.access.sessions import Sessions
from gateway.access.tokens import Tokens

__all__ = [
    "ADMIN",
    "PUBLIC",
    "ROUTES",
    "Access",
    "Authentication",
    "Cors",
    "InvalidScope",
    "Keys",
    "Limits",
    "Notes",
    "RequestFrame",
    "Scope",
    "Sessions",
    "Tokens",
    "UndeclaredRoute",
    "about",
    "access_of",
    "check_named",
    "check_save",
    "check_start",
    "create_limits",
    "forbidden",
    "guarded",
    "parse_scope",
    "parse_scopes",
]
