"""join: rows of two stores that belong together.

spec.py       what a join may say                      merge.py        both sides in order, in one pass with jumps
joined.py     join, Joined: from the query to rows     readers.py      ... a side, and where both are alike
pushdown.py   conditions tested before joining         sparse.py       ... few rows looked up among many
planning.py   which method                             singles.py      ... few matches searched for one by one
paths.py      keys and indexes that serve a join       lookup.py       right rows by a descent each
sides.py      rows with join keys                      hashing.py      right rows in a table, or in partitions on disk
pages.py      several pages as one slice               partitions.py   these partitions
chains.py     a join as a left side                    matching.py     what each type makes of matches
                                                       columns.py      joined rows as JSON texts
                                                       projection.py   fields of joined rows
"""

from query.joins.joined import Joined, Views, join
from query.joins.spec import METHODS, TYPES, JoinSpec, StoreSpec

__all__ = ["METHODS", "TYPES", "JoinSpec", "Joined", "StoreSpec", "Views", "join"]
