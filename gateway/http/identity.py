"""Who calls: the key's principal, and what the headers say within its scopes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.agents import Agent
from gateway.calls import Caller
from gateway.errors import NotFound
from gateway.http.fields import BadRequest
from gateway.keys import Principal
from gateway.store import Store

AGENT, RUN, USER, TEAM, TAGS = "x-curb-agent", "x-curb-run", "x-curb-user", "x-curb-team", "x-curb-tags"
CACHE = "x-curb-cache"
_AGENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# Neither control characters nor half a surrogate pair: names go to Redis and Postgres.
_INSIDE = r"|*\x00-\x1f\x7f\ud800-\udfff"
_NAME = re.compile(rf"[^\s{_INSIDE}](?:[^{_INSIDE}]{{0,198}}[^\s{_INSIDE}])?")
_MOST_TAGS = 32


@dataclass(frozen=True, slots=True)
class Said:
    """What the headers say about who calls; '' where they say nothing."""

    agent: str = ""
    run: str = ""
    user: str = ""
    team: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


def said_by(headers: Mapping[str, str]) -> Said:
    """Read the identity headers. Raises BadRequest for names that cannot be names."""
    return Said(
        agent=_name(headers, AGENT, _AGENT_NAME, "letters, digits, '.', '_' and '-', at most 100"),
        run=_name(headers, RUN, _NAME, "at most 200 characters without '|' or '*'"),
        user=_name(headers, USER, _NAME, "at most 200 characters without '|' or '*'"),
        team=_name(headers, TEAM, _NAME, "at most 200 characters without '|' or '*'"),
        tags=_tags(headers.get(TAGS, "")),
    )


async def identify(
    principal: Principal,
    said: Said,
    end_user: str,
    *,
    endpoint: str,
    address: str,
    agents: Mapping[str, Agent],
    store: Store,
) -> Caller:
    """Whom the call is charged to. end_user: whom the request itself names (`user`, `metadata.user_id`).

    What the key is bound to cannot be said otherwise: BadRequest (403) names the header. An end user
    counts where neither key nor header names a user. Raises StoreUnavailable where a run must be
    looked up.
    """
    if "call" not in principal.roles:
        raise BadRequest("this key may not call models", status=403, code="forbidden")
    if principal.rate_tier == "anonymous":
        return _nobody(principal, said, endpoint, address)
    agent = _bound(AGENT, principal.agent, said.agent) or _own_agent(principal)
    configured = agents.get(agent)
    team = _bound(TEAM, principal.team, said.team) or (configured.team if configured else "")
    if said.run:
        await _check_run(said.run, principal, store)
    user = _bound(USER, principal.user, said.user) or (end_user if _NAME.fullmatch(end_user) else "")
    return Caller(
        agent=agent,
        run_id=said.run,
        team=team,
        user=user,
        key_id=principal.key_id,
        endpoint=endpoint,
        feature=configured.feature if configured else "",
        tags={**said.tags, **principal.tags},
        rate_tier=principal.rate_tier,
        address=address,
    )


def _nobody(principal: Principal, said: Said, endpoint: str, address: str) -> Caller:
    """Who has no key is nobody in particular, and charges nobody else."""
    if said != Said():
        raise BadRequest("X-Curb headers count with a key only", status=403, code="out_of_scope")
    return Caller(
        agent=principal.agent,
        key_id=principal.key_id,
        endpoint=endpoint,
        rate_tier=principal.rate_tier,
        address=address,
    )


def _bound(header: str, by_key: str, by_client: str) -> str:
    if by_key and by_client and by_client != by_key:
        raise BadRequest(f"this key is bound to {by_key}", header, status=403, code="out_of_scope")
    return by_key or by_client


def _own_agent(principal: Principal) -> str:
    """A key without an agent is an agent of its own name, so that there is a budget and a switch."""
    return principal.name if _AGENT_NAME.fullmatch(principal.name) else principal.key_id or "nobody"


async def _check_run(run_id: str, principal: Principal, store: Store) -> None:
    """A key that is bound to somebody cannot charge the run of somebody else."""
    bound = (principal.agent, principal.team, principal.user)
    if not any(bound):
        return
    try:
        run = await store.runs.get(run_id)
    except NotFound:
        return
    for mine, theirs in zip(bound, (run.agent, run.team, run.user), strict=True):
        if mine and theirs and mine != theirs:
            raise BadRequest(
                "this run is not of this key's agent, team or user", RUN, status=403, code="out_of_scope"
            )


def _name(headers: Mapping[str, str], header: str, allowed: re.Pattern[str], what: str) -> str:
    value = headers.get(header, "").strip()
    if value and not allowed.fullmatch(value):
        raise BadRequest(f"a name is {what}", header)
    return value


def _tags(written: str) -> dict[str, str]:
    """`feature=search,ticket=42`."""
    tags = {}
    for pair in filter(None, (part.strip() for part in written.split(","))):
        name, equals, value = pair.partition("=")
        if not equals or not name.strip() or len(pair) > 200:
            raise BadRequest("write name=value, and more of them after commas", TAGS)
        tags[name.strip()] = value.strip()
    if len(tags) > _MOST_TAGS:
        raise BadRequest(f"at most {_MOST_TAGS} tags", TAGS)
    return tags
