"""An upper bound of what a request can be billed for as input.

A tokenizer never makes more tokens than there are UTF-8 bytes, so the bytes of the serialized
request plus the family's overhead bound its tokens. Once a deployment has reported its count
for an earlier part of the same conversation, that count plus the bytes added since is a
tighter bound, and just as safe.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from gateway.calls import Image, Message, ModelRequest, Request, WireRequest
from gateway.config import Deployment
from gateway.providers.base import Family

_REMEMBERED = 10_000


class Unbounded(ValueError):
    """The request has a part whose tokens cannot be bounded (an image without a configured count)."""


@dataclass(frozen=True, slots=True)
class _Reported:
    messages: int
    size: int
    tokens: int


def encoded(
    request: Request, family: Family, deployment: Deployment, max_output_tokens: int
) -> tuple[bytes, int, bool]:
    """The body for this deployment, its `request_size`, and whether it is the client's own document.

    Raises Unbounded, Untranslatable, and ProviderError for what the family cannot express.
    """

    def encode(this: ModelRequest) -> bytes:
        return family.encode(this, deployment, max_output_tokens)

    if isinstance(request, WireRequest):
        if (request.family, request.api) == (family.name, family.api):
            body = family.pass_on(request, deployment, max_output_tokens)
            return body, document_size(request, body, deployment), True
        request = request.neutral()
    body = encode(request)
    return body, request_size(request, body, encode, deployment), False


def document_size(request: WireRequest, body: bytes, deployment: Deployment) -> int:
    """`request_size` of a client's own document."""
    if not request.images:
        return len(body)
    return len(body) - request.image_bytes + request.images * _tokens_per_image(deployment)


def request_size(
    request: ModelRequest, body: bytes, encode: Callable[[ModelRequest], bytes], deployment: Deployment
) -> int:
    """Bound the input tokens by the body's bytes: images count as configured, not by their bytes.

    encode: makes the body of a request; what it leaves out of the body must not count as taken off.
    Raises Unbounded for an image at a deployment without tokens_per_image.
    """
    images = sum(isinstance(part, Image) for message in request.messages for part in message.parts)
    if not images:
        return len(body)
    tokens = images * _tokens_per_image(deployment)
    bare = request.model_copy(update={"messages": tuple(map(_without_image_data, request.messages))})
    return len(encode(bare)) + tokens


def _tokens_per_image(deployment: Deployment) -> int:
    if deployment.tokens_per_image is None:
        raise Unbounded(
            f"{deployment.name} has no tokens_per_image configured, so a request with an image has no "
            "upper bound; configure it or remove the image"
        )
    return deployment.tokens_per_image


def _without_image_data(message: Message) -> Message:
    parts = (
        part.model_copy(update={"data": ""}) if isinstance(part, Image) else part for part in message.parts
    )
    return message.model_copy(update={"parts": tuple(parts)})


class InputBounds:
    """The bounds of this process: remembers what deployments reported per conversation."""

    def __init__(self) -> None:
        self._reported: OrderedDict[tuple[str, ...], _Reported] = OrderedDict()

    def bound(self, request: ModelRequest, size: int, deployment: Deployment, conversation: str) -> int:
        """Return the most input tokens that this request, of that `request_size`, can be billed for."""
        whole = size + deployment.overhead_tokens
        known = self._reported.get(self._key(request, deployment, conversation)) if conversation else None
        if known is None or known.messages > len(request.messages) or known.size > size:
            return whole
        return min(whole, known.tokens + (size - known.size) + deployment.overhead_tokens)

    def report(
        self, request: ModelRequest, size: int, deployment: Deployment, conversation: str, tokens: int
    ) -> None:
        """Remember how many input tokens the deployment counted for this state of the conversation."""
        if not conversation or tokens <= 0:
            return
        key = self._key(request, deployment, conversation)
        self._reported[key] = _Reported(len(request.messages), size, tokens)
        self._reported.move_to_end(key)
        while len(self._reported) > _REMEMBERED:
            self._reported.popitem(last=False)

    @staticmethod
    def _key(request: ModelRequest, deployment: Deployment, conversation: str) -> tuple[str, ...]:
        """Conversations only grow, so one of them with the same system prompt and tools is a prefix."""
        head = hashlib.blake2b(request.system.encode(), digest_size=16)
        for tool in request.tools:
            head.update(tool.model_dump_json().encode())
        return deployment.name, conversation, head.hexdigest()
