"""Secrets: kept encrypted, named in scripts, put in where a tool needs them, and taken out of whatever comes back.

keyring.py     Keyring: keys with ids, of which the first encrypts and all decrypt
vault.py       Vault: the secrets of an installation, in the system database
filling.py     Filling: the secrets of one step; `guarded` takes them out of its result and its errors
redaction.py   Redaction: values out of texts
"""

from toolbox.vault.filling import Filling, guarded, redacted
from toolbox.vault.keyring import KEY_FILE, Keyring, Unreadable, installation_keyring
from toolbox.vault.redaction import Redaction
from toolbox.vault.vault import Vault

__all__ = [
    "KEY_FILE",
    "Filling",
    "Keyring",
    "Redaction",
    "Unreadable",
    "Vault",
    "guarded",
    "installation_keyring",
    "redacted",
]
