"""Sessions over HTTP: conversations in which scripts are written.

sessions.py   make, list, look at, change and close them      turns.py    a message on its way, and the records of its turn
messages.py   say something, decide, stop                     tailing.py  logs of sessions, read while they grow
records.py    what was said, and rows that were shown
"""
