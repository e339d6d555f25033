"""Script -> Program, the flat form.

compiler.py   one small rule for each type of step
program.py    what a Program is: instructions and the exception table
deferred.py   arguments that are left to the tool: templates over rows
"""
