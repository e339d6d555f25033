"""The version of this product."""

from typing import Final

DISTRIBUTION: Final = "sop-temporal"


def product_version() -> str:
    """The version that is installed; `unknown` where it runs from files."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
