"""What a key may do: asked by the gateway of requests, and below it by whatever acts for somebody.

scopes.py   Scope: one thing that is allowed; which scope covers which
holders.py  Access: the scopes of a key, and what is left of them where less was granted
rights.py   what a script takes of whoever starts or saves it

Who asks, and with which key, is not told here: the gateway knows keys, tokens and sessions.
"""

from toolbox.access.holders import Access, forbidden
from toolbox.access.rights import check_named, check_save, check_start, needs, of_arguments, of_call
from toolbox.access.scopes import ADMIN, ANY, MOST, InvalidScope, Scope, divided, matches, parse_scope, parse_scopes

__all__ = [
    "ADMIN",
    "ANY",
    "MOST",
    "Access",
    "InvalidScope",
    "Scope",
    "check_named",
    "check_save",
    "check_start",
    "divided",
    "forbidden",
    "matches",
    "needs",
    "of_arguments",
    "of_call",
    "parse_scope",
    "parse_scopes",
]
