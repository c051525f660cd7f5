"""A real web server for http_get: `web_server.py PORT ELSEWHERE_URL [CERTIFICATE_AND_KEY]`."""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route


async def page(request: Request) -> Response:
    return PlainTextResponse(f"host={request.headers['host']} q={request.query_params.get('q', '')} ü")


async def big(request: Request) -> Response:
    del request
    return PlainTextResponse("x" * 1_000_001)


async def picture(request: Request) -> Response:
    del request
    return Response(b"PNG\x00\x01", media_type="image/png")


async def missing(request: Request) -> Response:
    del request
    return PlainTextResponse("no such thing", status_code=404)


async def redirect(request: Request) -> Response:
    targets = {"here": "/page?q=moved", "out": sys.argv[2], "above": "../../private/page", "loop": "/to/loop"}
    return RedirectResponse(targets[request.path_params["where"]])


ROUTES = [
    Route("/page", page),
    Route("/api/page", page),
    Route("/private/page", page),
    Route("/big", big),
    Route("/picture", picture),
    Route("/missing", missing),
    Route("/to/{where}", redirect),
    Route("/api/to/{where}", redirect),
]

if __name__ == "__main__":
    certificate = sys.argv[3] if len(sys.argv) > 3 else None
    uvicorn.run(
        Starlette(routes=ROUTES), port=int(sys.argv[1]), log_level="warning", ssl_certfile=certificate
    )
