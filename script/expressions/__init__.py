"""What stands in a script's strings; nothing here knows of steps.

expressions.py   CEL, compiled once, evaluated against JSON variables
functions.py     what the language adds to CEL
tokens.py        which variables an expression reads, and where
templates.py     JSON values whose strings hold {{ expression }}
sources.py       conditions, lists and `reduce` as scripts write them
durations.py     "1h 30m", and points in time
"""
