"""The text of a script, and the way in.

ast.py       the tree: a Script and its steps, exactly the fields of the language
loading.py   text -> Script, and a script's canonical form and hash
goforms.py   the Go-template forms of older documents -> CEL
schema.py    the JSON Schema of a Script
"""
