"""Health for load balancers and people, and /metrics. No key: nothing secret is in it."""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel, Field

from gateway.http.endpoint import address_of
from worker.api.access import allowed
from worker.api.office import Office
from worker.desk.documents import at_text
from worker.health_checks import HealthChecks, Seen, overall
from worker.listening import is_loopback

Status = Literal["healthy", "degraded", "unhealthy", "unknown"]


class Dependency(BaseModel):
    """One of what this server depends on. latency: milliseconds of the last look; null without one."""

    status: Status
    latency: float | None
    message: str
    last_checked: str = Field(serialization_alias="lastChecked")


class Health(BaseModel):
    """uptime: seconds."""

    status: Status
    timestamp: str
    version: str
    uptime: float
    dependencies: dict[str, Dependency]


class Dependencies(BaseModel):
    dependencies: dict[str, Dependency]


class Simple(BaseModel):
    """message: why not, '' where all is well."""

    status: str
    timestamp: str
    message: str = ""


_DOWN: dict[int | str, dict[str, Any]] = {503: {"description": "It is not", "model": Simple}}


def health(office: Office) -> APIRouter:
    """The endpoints."""
    router, checks = APIRouter(tags=["health"]), office.health

    @router.get("/health", responses={503: {"description": "It is not", "model": Health}})
    @router.get("/api/v1/health", responses={503: {"description": "It is not", "model": Health}})
    async def whole(response: Response) -> Health:
        """How this server and everything that it depends on are. 503 where it can do nothing at all."""
        found = await checks.dependencies()
        status = overall(found)
        response.status_code = 503 if status == "unhealthy" else 200
        return Health(
            status=status,
            timestamp=_now(),
            version=version("curb"),
            uptime=_uptime(checks),
            dependencies=_documents(found),
        )

    @router.get("/health/dependencies")
    async def dependencies() -> Dependencies:
        """Each of them, as last seen: looks are bounded in time and kept for two seconds."""
        return Dependencies(dependencies=_documents(await checks.dependencies()))

    @router.get("/live")
    @router.get("/health/live")
    async def live() -> Simple:
        """This process answers. It asks nobody, so that an outage elsewhere restarts nothing."""
        return Simple(status="alive", timestamp=_now())

    @router.get("/ready", responses=_DOWN)
    @router.get("/health/ready", responses=_DOWN)
    async def ready(response: Response) -> Simple:
        """Something can be bought: Postgres answers, Redis answers and admission is open."""
        seen = await checks.ready()
        is_ready = seen.status == "healthy"
        response.status_code = 200 if is_ready else 503
        return Simple(status="ready" if is_ready else "not ready", timestamp=_now(), message=seen.message)

    @router.get("/health/startup")
    async def startup() -> Simple:
        """This server has started: it listens only once the budgets are loaded."""
        return Simple(status="started", timestamp=_now())

    viewer = allowed(office, "viewer")

    async def near_or_viewer(request: Request) -> None:
        if not is_loopback(address_of(request.scope)):
            await viewer(request)

    @router.get("/metrics", response_class=Response, dependencies=[Depends(near_or_viewer)])
    async def metrics(request: Request) -> Response:
        """What Prometheus scrapes, for this machine, and for keys with the role viewer."""
        if office.before_scrape is not None:
            await office.before_scrape()
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(office.registry), headers={"content-type": media_type})

    return router


def _documents(found: dict[str, Seen]) -> dict[str, Dependency]:
    return {
        name: Dependency(
            status=seen.status,
            latency=seen.latency_ms,
            message=seen.message,
            last_checked=at_text(seen.at) or "",
        )
        for name, seen in found.items()
    }


def _now() -> str:
    return at_text(datetime.now(UTC)) or ""


def _uptime(checks: HealthChecks) -> float:
    return round((datetime.now(UTC) - checks.began_at).total_seconds(), 1)
