"""Kernel 2: the language. No I/O, no clock, no randomness.

text --loading--> Script --checker--> problems
                     |---compiler---> Program --machine--> effects, events, a value

the text          ast.py the tree | loading.py text -> Script | goforms.py older template forms -> CEL | schema.py the JSON Schema
expressions       expressions.py CEL | functions.py what we add | tokens.py which variables are read | templates.py {{ }} in values
                  nul.py text with the character NUL | deferred.py templates for somebody else | durations.py "1h 30m", points in time
what is wrong     checker.py steps | check_calls.py tools, scripts, stores | check_values.py expressions | arguments_check.py arguments
                  json_schemas.py JSON Schemas in scripts | scope.py which variables are defined | environment.py the world around
                  a script | errors.py
the flat form     compiler.py Script -> Program | program.py instructions and the exception table
the machine       machine.py driving, frames, events | state.py its state | effects.py what it says | operations.py simple instructions
                  fibers.py strands side by side | loops.py | failures.py retry, catch, finally | timeouts.py | calls.py what steps ask for
                  transactions.py the open transaction | reruns.py after a conflict | sagas.py compensations, the end of a run
                  batches.py loops over rows | parts.py chunks side by side | progress.py | iterations.py bodies
                  reduce.py combining iterations | dry_runs.py what a dry run does otherwise
                  arguments.py binding arguments, checking results
around it         local.py driving a machine right here | wire.py what crosses a process border
people            standing.py how a run stands | resuming.py going on from the middle of a run
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
