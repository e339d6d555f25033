"""Deterministic Temporal code: the workflow that runs any script."""

from workflows.run import ScriptWorkflow

__all__ = ["ScriptWorkflow"]
