"""join: rows of two stores that belong together.

spec.py       what a join may say                      merge.py        both sides in order, in one pass with jumps
joined.py     join, Joined: from the query to rows     lookup.py       right rows by a descent each
pushdown.py   conditions tested before joining         hashing.py      right rows in a table, or in partitions on disk
planning.py   which method                             partitions.py   these partitions
paths.py      keys and indexes that serve a join       matching.py     what each type makes of matches
sides.py      rows with join keys                      columns.py      joined rows as JSON texts
                                                       projection.py   fields of joined rows
"""

from query.joins.joined import Joined, Views, join
from query.joins.spec import METHODS, TYPES, JoinSpec, StoreSpec

__all__ = ["METHODS", "TYPES", "JoinSpec", "Joined", "StoreSpec", "Views", "join"]
