"""LlamaIndex's models of OpenAI and Anthropic, which know nothing of curb but its address."""

import pytest

from tests.clients.programs import ALIASES, LLAMA_INDEX, told
from tests.integration.front import Front


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("model", ALIASES)
async def test_a_llama_index_program_only_changes_its_base_url(front: Front, kind: str, model: str) -> None:
    found = await told(*LLAMA_INDEX, front.url, kind, model)

    called = {"name": "list_files", "args": {"path": "."}}
    assert found["turn"]["call"] == found["streamed_call"] == called
    assert "1 tool results" in found["turn"]["answer"]
    assert found["pieces"] > 2
    assert found["streamed"] == found["said"] == found["later"] != ""
    assert await front.booked() > 0
    assert await front.held() == 0
