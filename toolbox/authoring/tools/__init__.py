"""The tools of sessions: each is one decorated function of the effect `session`.

drafting.py     drafts begun, taken up, shown, compared, taken back      steps.py        their steps
publishing.py   dry runs, versions, runs                                 recording.py    what was done, as steps
reuse.py        the last calls again                                     mocking.py      tools that are not there, or not to be used
explaining.py   a script told, drawn, reviewed                          asking.py       questions to the person
steering.py     the session itself
"""

from toolbox.authoring.tools import asking, drafting, explaining, mocking, publishing, recording, reuse, steering, steps

MODULES = (drafting, steps, explaining, publishing, recording, reuse, mocking, asking, steering)

__all__ = ["MODULES"]
