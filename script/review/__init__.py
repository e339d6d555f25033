"""What a person should know before a script runs: what it does to the world, and what looks wrong with it. No model is asked.

review.py    the report
facts.py     a script as the rules see it: its steps in their places, what reads what (told by the checker), what may fail later
effects.py   databases, stores, outside calls, called scripts, secrets
rules.py     what is worth saying, a rule for each; failing.py has those about failures and what remains of them
"""

from script.review.review import Review, review_script

__all__ = ["Review", "review_script"]
