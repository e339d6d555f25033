"""The data directory of the tools' tests."""

from tests.toolbox.conftest import resources

__all__ = ["resources"]
