"""A collector of traces that only counts: `python -m bench.collector PORT`. GET /spans says how many came."""

import sys

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """Reads what comes, as a collector would, and forgets it."""

    def __init__(self) -> None:
        self._spans = 0

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/traces", self._traces)
        app.router.add_post("/v1/metrics", self._metrics)
        app.router.add_get("/spans", self._count)
        return app

    async def _traces(self, request: web.Request) -> web.Response:
        told = ExportTraceServiceRequest.FromString(await request.read())
        self._spans += sum(
            len(scope.spans) for resource in told.resource_spans for scope in resource.scope_spans
        )
        return web.Response(content_type="application/x-protobuf")

    async def _metrics(self, request: web.Request) -> web.Response:
        await request.read()
        return web.Response(content_type="application/x-protobuf")

    async def _count(self, request: web.Request) -> web.Response:
        return web.json_response(self._spans)


if __name__ == "__main__":
    web.run_app(Collector().app(), host="127.0.0.1", port=int(sys.argv[1]), print=None)
