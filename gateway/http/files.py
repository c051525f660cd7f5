"""OpenAI's files, as far as batches need them: what goes in, and what came of it. Each is its key's alone.

https://platform.openai.com/docs/api-reference/files
"""

import uuid
from collections.abc import AsyncIterator
from typing import Any

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.http.endpoint import Door, headers_of, read_body
from gateway.http.fields import BadRequest
from gateway.http.plain import asked_for, id_in, route
from gateway.keys import Principal
from gateway.store.files import File

_LONGEST_NAME = 200
MOST_KEPT_BYTES = 2 * 1024**3  # of a key's uploads together


def file_routes(door: Door) -> list[Route]:
    """The routes of /v1/files."""
    files = _Files(door)
    return [
        route(door, "openai", "POST", "/v1/files", files.keep),
        route(door, "openai", "GET", "/v1/files", files.all),
        route(door, "openai", "GET", "/v1/files/{id}", files.one),
        route(door, "openai", "GET", "/v1/files/{id}/content", files.content),
        route(door, "openai", "DELETE", "/v1/files/{id}", files.remove),
    ]


class _Files:
    def __init__(self, door: Door) -> None:
        self._store = door.gateway.store.files
        self._most = door.limits.body_bytes
        self._keep_seconds = door.gateway.config.batches.keep_file_seconds

    async def keep(self, request: Request, principal: Principal) -> Response:
        headers = headers_of(request.scope)
        if not headers.get("content-type", "").startswith("multipart/form-data"):
            raise BadRequest("send a form: multipart/form-data with `purpose` and `file`", "content-type")
        name, content = await _file_in(headers, await read_body(request.receive, headers, self._most))
        if await self._store.uploaded(principal.key_id) + len(content) > MOST_KEPT_BYTES:
            why = f"{MOST_KEPT_BYTES} bytes of files are the most that is kept for a key; delete some"
            raise BadRequest(why, "file", status=413, code="too_large")
        file = await self._store.keep(f"file-{uuid.uuid4().hex}", principal.key_id, "batch", name, content)
        return JSONResponse(self._told(file))

    async def all(self, request: Request, principal: Principal) -> Response:
        files = await self._store.of_key(principal.key_id, asked_for(request, "purpose"))
        return JSONResponse(
            {"object": "list", "data": [self._told(file) for file in files], "has_more": False}
        )

    async def one(self, request: Request, principal: Principal) -> Response:
        return JSONResponse(self._told(await self._store.get(id_in(request, "file"), principal.key_id)))

    async def content(self, request: Request, principal: Principal) -> Response:
        content = await self._store.content(id_in(request, "file"), principal.key_id)
        return Response(content, media_type="application/octet-stream")

    async def remove(self, request: Request, principal: Principal) -> Response:
        id = id_in(request, "file")
        await self._store.remove(id, principal.key_id)
        return JSONResponse({"id": id, "object": "file", "deleted": True})

    def _told(self, file: File) -> dict[str, Any]:
        created = int(file.created_at.timestamp())
        return {
            "id": file.id,
            "object": "file",
            "bytes": file.bytes,
            "created_at": created,
            "expires_at": None if self._keep_seconds is None else created + int(self._keep_seconds),
            "filename": file.filename,
            "purpose": file.purpose,
            "status": "processed",
        }


async def _file_in(headers: dict[str, str], body: bytes) -> tuple[str, bytes]:
    """The name and content of the one file of a form whose purpose is a batch. Raises BadRequest."""

    async def stream() -> AsyncIterator[bytes]:
        yield body

    parser = MultiPartParser(Headers(headers), stream(), max_files=1, max_fields=20)  # type: ignore[arg-type]
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise BadRequest(f"the form cannot be read: {error}") from None
    try:
        if form.get("purpose") != "batch":
            raise BadRequest("files are kept for `batch` only", "purpose")
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise BadRequest("is missing", "file")
        content = await file.read()
        if b"\0" in content:
            raise BadRequest("is no text in UTF-8", "file")
        name = (file.filename or "batch.jsonl").replace("\0", "")[:_LONGEST_NAME]
        return name.encode("utf-8", "replace").decode(), content
    finally:
        await form.close()
