"""`/healthz` says that this process runs, `/readyz` whether it can serve."""

from typing import Final

from fastapi import APIRouter, Response

from .dependencies import System
from .responses import Check, Readiness

router: Final = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Always 200 while the process runs; asks nobody else."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"model": Readiness}})
async def readyz(system: System, response: Response) -> Readiness:
    """200 where the database, its tables and Supabase Auth answer; 503 with the reason where one does not."""
    checks = [Check.model_validate(result, from_attributes=True) for result in await system.readiness()]
    ready = all(check.ok for check in checks)
    response.status_code = 200 if ready else 503
    return Readiness(status="ready" if ready else "not_ready", checks=checks)
