"""`sop chat`: a session on the command line.

cards.py    a card of a session as lines of text: pure
shown.py    records as they come, on one or two consoles: text, tool calls, cards, rows
lines.py    a line of the person's: history, completion, several lines
loop.py     the conversation: messages, decisions, Ctrl-C
command.py  `sop chat`

Texts of a session may be anybody's (rows, tools, models): control characters are made visible, and nothing is read as markup.
"""
