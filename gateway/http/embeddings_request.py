"""Requests to /v1/embeddings: they pass as they are, once what they may cost is known."""

from collections.abc import Mapping

from gateway.calls import ModelRequest, WireRequest
from gateway.http.fields import BadRequest, Json, only, untranslatable, whole

_MOST_INPUTS = 2048
_OTHER = "a family without embeddings"


class EmbeddingsRequest:
    """One request. Its tokens are at most the bytes of its document, as texts or as token ids."""

    streamed = False
    left_out: tuple[str, ...] = ()

    def __init__(self, document: Json, headers: Mapping[str, str] | None = None) -> None:
        del headers  # none that its document goes with
        _check_input(document.get("input"))
        only(document, "encoding_format", ("float", "base64"), "there are float and base64")
        whole(document, "dimensions")
        self.document = document
        self.end_user = document["user"] if isinstance(document.get("user"), str) else ""

    def wire(self) -> WireRequest:
        """The request as the gateway takes it."""
        return WireRequest(
            family="openai",
            document=self.document,
            neutral=self.neutral,
            streamed=False,
            max_output_tokens=0,
            api="embeddings",
        )

    def neutral(self) -> ModelRequest:
        """There is no other way to ask for embeddings."""
        raise untranslatable("input", _OTHER, "it has no embeddings")


def _check_input(given: object) -> None:
    """A text, a list of texts, token ids, or lists of those."""
    if isinstance(given, str) and given:
        return
    if not isinstance(given, list) or not given:
        raise BadRequest("must be a text or a list, and not an empty one", "input")
    if all(_is_token(each) for each in given):
        return
    if len(given) > _MOST_INPUTS:
        raise BadRequest(f"has {len(given)} entries; {_MOST_INPUTS} is the most", "input")
    for index, each in enumerate(given):
        tokens = isinstance(each, list) and bool(each) and all(map(_is_token, each))
        if not tokens and not (isinstance(each, str) and each):
            raise BadRequest("must be a text or a list of token ids, and not an empty one", f"input[{index}]")


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
