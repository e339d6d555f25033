"""A run as a tree that grows: what `sop run watch` shows on a terminal.

steps.py     the tree, folded from the run's events and from where its worker says that it is: no clock, no terminal
view.py      the tree as lines: marks, counts, durations, what is left out where the screen ends
screen.py    both on a terminal, as long as somebody watches

A place in the tree is a path of the script, not an execution of it: a step in a loop is one line with a count. So the tree has the size of
the script, however long the run is.
"""

from gateway.cli.live.screen import Screen, suits
from gateway.cli.live.steps import Steps

__all__ = ["Screen", "Steps", "suits"]
