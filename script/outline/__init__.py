"""A script in plain English, from its tree and nothing else: no model, no catalog.

outline.py   the whole script, numbered; one step in one line
steps.py     a sentence for each step type, and what stands around a step
tools.py     calls of the language's tools
rows.py      filters, orders, fields, changes
words.py     values, lists, durations, types
"""

from script.outline.outline import outline, summary

__all__ = ["outline", "summary"]
