"""Looking after a database: is it in order, and giving back the room that it does not need."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from gateway.data.databases import open_for_upkeep
from gateway.services import Here

router = APIRouter(prefix="/v1/databases", tags=["databases"])


class CompactRequest(BaseModel):
    """How much history is kept."""

    model_config = ConfigDict(extra="forbid")

    retention_seconds: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="older versions go; without it, what the settings say"
    )


@router.post("/{database}:check")
def check_database(here: Here, database: str) -> dict[str, Any]:
    """Read every page of everything that is kept, and tell what is wrong. That there are problems is no failure of the request."""
    report = here.databases.check(database)
    return {"ok": report.ok, **asdict(report)}


@router.post("/{database}:compact")
def compact_database(here: Here, database: str, body: CompactRequest | None = None) -> dict[str, Any]:
    """Give back what no kept version needs, and rewrite the file without free room; writers wait meanwhile."""
    opened = open_for_upkeep(here, database)
    asked = body.retention_seconds if body is not None else None
    kept = here.retention_seconds if asked is None else asked
    swept = opened.sweep(retention_seconds=kept, history_bytes=here.history_bytes)
    before, after = opened.compact()
    return {"bytes_before": before, "bytes_after": after, "swept": asdict(swept)}
