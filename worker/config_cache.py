"""`cache:` in curb.yaml: answers that may be given again."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import BeforeValidator, Field

from gateway.config import CacheRules, GatewayConfig, SemanticRules
from worker.config_errors import Problem, suggestion
from worker.config_values import Ratio, Seconds, Section


def _off(written: object) -> object:
    return {"off": True} if written is False or written == "off" else written


def off_is_a_word(written: object) -> object:
    """YAML reads `off` as false."""
    return "off" if written is False else written


class SemanticSection(Section):
    """deployment: makes the vectors; one of `kind: embedding`, or a tier of such."""

    deployment: str = "openai/text-embedding-3-small"
    threshold: Ratio = 0.95
    dimensions: int = Field(default=256, ge=1, le=16_000)
    timeout: Seconds = 5.0


class CacheSection(Section):
    """for: how long an answer is kept. shared: between keys and agents, too."""

    off: bool = False
    kept: Seconds = Field(default=3_600.0, validation_alias="for", gt=0)
    shared: bool = False
    most_bytes: int = Field(default=262_144, ge=1)
    semantic: SemanticSection | None = None


CacheWritten = Annotated[CacheSection, BeforeValidator(_off)]


def cache_rules(section: CacheSection) -> CacheRules:
    """What the section comes to."""
    semantic = None if section.semantic is None else _semantic(section.semantic)
    return CacheRules(section.off, section.kept, section.shared, section.most_bytes, semantic)


def _semantic(section: SemanticSection) -> SemanticRules:
    return SemanticRules(
        section.deployment, section.threshold, section.dimensions, timeout_seconds=section.timeout
    )


def cache_checks(
    section: CacheSection, gateway: GatewayConfig, semantic_agents: list[str]
) -> Iterator[Problem]:
    """A deployment that makes no vectors, and agents that want what is not configured."""
    if section.semantic is None:
        for name in semantic_agents:
            yield Problem(("agents", name, "cache"), "needs a section `cache: {semantic: {}}`")
        return
    name = section.semantic.deployment
    tiers = {tier.name: tier for tier in gateway.tiers}
    made_by = tiers[name].deployments if name in tiers else (name,)
    for each in made_by:
        deployment = gateway.deployments.get(each)
        if deployment is None:
            message = f"there is no deployment {each}{suggestion(each, list(gateway.deployments))}"
            yield Problem(("cache", "semantic", "deployment"), message)
        elif deployment.kind != "embedding":
            yield Problem(
                ("cache", "semantic", "deployment"), f"{each} is no deployment of `kind: embedding`"
            )
