"""What can be known to be wrong with a script before it runs.

checker.py     walks the steps as a run would
calls.py       tools, scripts, stores and databases
values.py      expressions, conditions, templates, durations
arguments.py   a tool's arguments against its schema
scope.py       which variables are defined, surely or perhaps
"""
