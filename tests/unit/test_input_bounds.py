"""The bound of a request's input: never less than what can be billed."""

import pytest

from gateway.bounds import Unbounded, request_size
from gateway.calls import Image, Message, ModelRequest, Text
from gateway.config import Deployment, FamilyName
from gateway.providers import family

DATA = "QUJD" * 10_000
WORDS = "w" * 50_000


def size(wire: FamilyName, *messages: Message, tokens_per_image: int | None = 1_000) -> int:
    deployment = Deployment("d", "p", "m", tokens_per_image=tokens_per_image)
    request = ModelRequest(messages=messages)

    def encode(this: ModelRequest) -> bytes:
        return family(wire).encode(this, deployment, 100)

    return request_size(request, encode(request), encode, deployment)


def said(role: str, *images: Image) -> Message:
    return Message.model_validate({"role": role, "parts": (Text(text=WORDS), *images)})


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_an_image_counts_as_configured_and_not_by_its_bytes(wire: FamilyName) -> None:
    with_image = size(wire, said("user", Image(data=DATA)))
    assert len(WORDS) + 1_000 <= with_image <= len(WORDS) + 1_000 + 300


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
@pytest.mark.parametrize("role", ["system", "assistant", "user"])
@pytest.mark.parametrize("image", [Image(data=DATA), Image(url="https://x/a.png", data=DATA)])
def test_bytes_that_are_not_in_the_body_are_not_taken_off(wire: FamilyName, role: str, image: Image) -> None:
    """Wires leave out images where they have no place for them, and data beside a URL."""
    assert size(wire, said(role, image), said("user")) >= 2 * len(WORDS)


def test_an_image_without_a_token_count_has_no_bound() -> None:
    with pytest.raises(Unbounded, match="tokens_per_image"):
        size("openai", said("user", Image(data=DATA)), tokens_per_image=None)
