"""Editing scripts: what every editor needs, whoever it is. Pure; a script is its JSON here, and may be wrong.

patches.py    JSON Patch and JSON Merge Patch
diff.py       what differs between two scripts: steps that are new, gone, moved, changed
english.py    the same in words
matching.py   which elements of two lists are the same one
places.py     which step is meant                   steps.py        steps inserted, changed, moved, removed
parameters.py values that become parameters         literals.py     any JSON value as a template that gives it

An edit never asks whether the script is right: the checker says so, about any text (`script.checker`).
"""

from script.editing.diff import Change, diff_scripts, difference
from script.editing.literals import literal
from script.editing.parameters import Replaced, parameterize
from script.editing.patches import apply_merge_patch, apply_patch

__all__ = [
    "Change",
    "Replaced",
    "apply_merge_patch",
    "apply_patch",
    "diff_scripts",
    "difference",
    "literal",
    "parameterize",
]
