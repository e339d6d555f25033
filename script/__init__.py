"""Kernel 2: the language. No I/O, no clock, no randomness.

text --loading--> Script --checker--> problems
                     |---compiler---> Program --machine--> effects, events, a value

expressions/      what stands in strings: CEL, templates, durations
source/           the text: the tree, loading, older forms, the JSON Schema of scripts
compiler/         the flat form: instructions and the exception table
checker/          what is wrong with a script before it runs
editing/          edits and differences of scripts that may be wrong
machine/          running a program: steps, transactions, sagas, fibers, batches
outline/          a script in plain English
diagram/          a script as a picture: Mermaid, SVG
review/           what a script does to the world, and what looks wrong with it
environment.py    the world around a script (tools, scripts, databases), for checker and compiler
errors.py         what can be wrong
json_schemas.py   JSON Schemas in scripts
schema_tests.py   a JSON Schema as a quick test of values
equality.py       when two JSON values are equal
wire.py           what crosses a process border

A folder imports only folders above it and the modules below them; checker, machine, editing and outline do not know each other. Users of
the package take the names of `__all__` from here, and everything else from its module.
"""

from script.checker.checker import check_script
from script.compiler.compiler import compile_script
from script.compiler.program import Program
from script.errors import EvaluationError, ExpressionSyntaxError, Problem, ScriptError, ScriptInvalid
from script.machine.machine import Machine
from script.source.ast import Script
from script.source.loading import LoadedScript, canonical_json, load_script, script_hash

__all__ = [
    "EvaluationError",
    "ExpressionSyntaxError",
    "LoadedScript",
    "Machine",
    "Problem",
    "Program",
    "Script",
    "ScriptError",
    "ScriptInvalid",
    "canonical_json",
    "check_script",
    "compile_script",
    "load_script",
    "script_hash",
]
