"""Isolation, tested: a cycle checker of our own, workloads for the real engine, and the classical anomalies by hand.

history.py        what was done and seen: transactions and their operations, also as JSON lines
versions.py       from a history to the versions of each key, and who wrote and read which
graph.py          strongly connected components, shortest cycles
checker.py        violations(history, level): the anomalies, named, with the cycle as text
simulation.py     a model database with faults that can be switched on, to test the checker
workloads.py      random transactions against the real engine: threads, Database objects, processes
pair.py           two hand-interleaved transactions, for the directed tests
"""
