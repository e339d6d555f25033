"""Deterministic Temporal code: the workflow that runs any script, and the one of a session."""

from workflows.authoring import SessionWorkflow
from workflows.run import ScriptWorkflow

__all__ = ["ScriptWorkflow", "SessionWorkflow"]
