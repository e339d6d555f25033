"""A script as a picture, from its tree and nothing else.

labels.py    what stands in the box of a step
mermaid.py   a flowchart in Mermaid's words
svg.py       a picture of nested boxes; layout.py says how large they are
"""

from script.diagram.mermaid import mermaid
from script.diagram.svg import svg

__all__ = ["mermaid", "svg"]
