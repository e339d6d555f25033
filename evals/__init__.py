"""Evals: what a model makes of English, as cases with properties that are checked, never read by a model.

case.py       a case: what is said, what is expected      cases/         the cases, in groups
properties.py what can be expected; pure                  scoring.py     the score of a case; pure
samples.py    the databases                               outcome.py     what came of a conversation
trials.py     scripts run on copies of the samples        matching.py    when a value is what was expected
pipeline.py   the one interface to what is talked to      product.py     the product behind it, without servers
runner.py     one case                                    report.py      the table, and the lines of JSON
"""
