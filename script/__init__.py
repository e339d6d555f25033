"""Kernel 2: the language. No I/O, no clock, no randomness.

text --loading--> Script --checker--> problems
                     |---compiler---> Program --machine--> effects, events, a value

ast.py            the tree                        program.py        the flat form
loading.py        text -> Script                  compiler.py       Script -> Program
goforms.py        older template forms -> CEL     machine.py        runs a Program; its state is a value
expressions.py    CEL                             operations.py     one function for each instruction
functions.py      what we add to CEL              transactions.py   effects, and the run's transaction
tokens.py         which variables are read        batches.py        loops over rows
templates.py      {{ }} in JSON values            reduce.py         combining iterations
sources.py        expressions as written        blocks.py         blocks on another database
checker.py        what is wrong with a script     arguments.py      binding arguments, checking results
scope.py          which variables are defined     local.py          driving a machine right here
environment.py    the world around a script       wire.py           what crosses a process border
dry_runs.py       what a dry run does otherwise
schema.py         the language's JSON Schema      errors.py         what can be wrong
json_schemas.py   JSON Schemas in scripts
"""

from script.ast import Script
from script.checker import check_script
from script.compiler import compile_script
from script.errors import EvaluationError, ExpressionSyntaxError, Problem, ScriptError, ScriptInvalid
from script.loading import LoadedScript, canonical_json, load_script, script_hash
from script.machine import Machine
from script.program import Program

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
