"""Data: databases, their stores and rows, in and out.

databases.py   /v1/databases, stores        imports.py       rows in, as they come
rows.py        rows by key and by page      bodies.py        a body as pieces and lines
queries.py     what a query looks like      backups.py       a database as a file
exports.py     select, join, aggregate      history.py       versions, changes, restoring
                                            maintenance.py   check, compact

Nothing is imported here.
"""

__all__: list[str] = []
