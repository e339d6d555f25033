"""The commands a script may call, and the library of scripts.

tool.py         @tool, Tool: a decorated function       data.py      select get add upsert update delete
registry.py     Registry, builtin_registry              catalog.py   databases and stores
context.py      what a tool gets beside its arguments   outside.py   send_email, coupon_code
outbox.py       outside calls written down              scripts.py   list, show and save scripts
library.py      immutable script versions               meta.py      tools about tools
drafts.py       scripts that are being written
webhooks.py     signed webhooks out                     notify.py    the tool notify
notices.py      that scheduled runs failed, and recovered   schedules.py    tools for schedules
stand_ins.py    tools that are not there yet            authoring/   sessions
environment.py  the checker's world                     errors.py    what can be wrong
addresses.py    which addresses may be reached  http.py      the one connection to the outside
requests.py     http_request
references.py   rows as the result of a step            analysis.py  join aggregate explain
access          what a key may do                       vault        secrets
"""

from toolbox.addresses import HttpPolicy
from toolbox.context import Services, SmtpSettings, ToolContext, installation_secret
from toolbox.drafts import Draft, Drafts, Revision
from toolbox.errors import InvalidArguments, ToolError, UnknownTool
from toolbox.library import ScriptLibrary, ScriptVersion
from toolbox.outbox import Outbox
from toolbox.registry import Registry, builtin_registry
from toolbox.stand_ins import StandIns
from toolbox.tool import Bound, Tool, tool
from toolbox.webhooks import WebhookSettings

__all__ = [
    "Bound",
    "Draft",
    "Drafts",
    "HttpPolicy",
    "InvalidArguments",
    "Outbox",
    "Registry",
    "Revision",
    "ScriptLibrary",
    "ScriptVersion",
    "Services",
    "SmtpSettings",
    "StandIns",
    "Tool",
    "ToolContext",
    "ToolError",
    "UnknownTool",
    "WebhookSettings",
    "builtin_registry",
    "installation_secret",
    "tool",
]
