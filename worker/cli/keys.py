"""curb keys create|list|rotate|revoke|freeze|unfreeze. A token is printed once, and is never an argument."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from worker.cli.errors import Misused
from worker.cli.output import Json
from worker.cli.status import Status

if TYPE_CHECKING:
    from gateway.store.keys import Key
    from worker.cli.servers import Books
    from worker.config import Config
    from worker.keys import Issued, KeyDesk

app = typer.Typer(help="Virtual keys: who may call, as whom, and for how much.", no_args_is_help=True)

RateTier = Literal["free", "pro", "enterprise"]
KeyName = Annotated[str, typer.Argument(metavar="KEY", help="Its id, its name, or the prefix of its token.")]
KeyOrNone = Annotated[str, typer.Argument(metavar="[KEY]", help="Its id, its name, or its token's prefix.")]
Team = Annotated[str, typer.Option(help="Every key of this team instead.")]
_LONGEST_NAME = 100


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.")],
    agent: Annotated[str, typer.Option(help="Bind it to this agent.")] = "",
    team: Annotated[str, typer.Option(help="Bind it to this team.")] = "",
    user: Annotated[str, typer.Option(help="Bind it to this user.")] = "",
    tier: Annotated[list[str] | None, typer.Option(help="Only these tiers (several times).")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only these deployments (several times).")] = None,
    rate_tier: Annotated[RateTier, typer.Option(help="How many requests an hour.")] = "free",
    role: Annotated[list[str] | None, typer.Option(help="call (default), viewer, operator, admin.")] = None,
    daily: Annotated[str, typer.Option(metavar="USD", help="Dollars a day.")] = "",
    monthly: Annotated[str, typer.Option(metavar="USD", help="Dollars a month.")] = "",
    expires: Annotated[str, typer.Option(metavar="T", help="After 90d, or at a date.")] = "",
    tag: Annotated[list[str] | None, typer.Option(metavar="K=V", help="For reports (several times).")] = None,
    json: Json = False,
) -> None:
    """Make a key. Its token goes to stdout, this once."""
    from gateway.policy.money import usd
    from gateway.store.keys import Key
    from gateway.tokens import new_key_id

    key = Key(
        id=new_key_id(),
        name=_name(name),
        agent=agent,
        team=team,
        user=user,
        tiers=tuple(tier) if tier else None,
        models=tuple(model) if model else None,
        rate_tier=rate_tier,
        roles=tuple(role or ("call",)),
        tags=_tags(tag or ()),
        expires_at=_end(expires),
    )
    limits = {"daily": usd(daily) if daily else None, "monthly": usd(monthly) if monthly else None}
    asyncio.run(_create(key, limits, as_json=json))


async def _create(key: "Key", limits: dict[str, Any], *, as_json: bool) -> None:
    async with _open() as (books, desk):
        key = _with_known_models(key, books.house.config)
        issued = await desk.create(key, **limits)
        await _print_issued(books, desk, issued, as_json=as_json)


@app.command("list")
def list_keys(
    team: Annotated[str, typer.Option(help="Only this team's.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Revoked keys too.")] = False,
    json: Json = False,
) -> None:
    """The keys there are, never their tokens."""
    asyncio.run(_list(team, everything, as_json=json))


async def _list(team: str, everything: bool, *, as_json: bool) -> None:
    from worker.cli import output

    async with _open() as (books, desk):
        keys = [
            key
            for key in await books.store.keys.everyone()
            if (not team or key.team == team) and (everything or key.revoked_at is None)
        ]
        documents = await _documents(books, desk, keys)
    if as_json:
        output.print_json({"keys": documents})
    elif documents:
        _print_keys(documents)
    else:
        output.console().print("no keys (`curb keys create NAME` makes one)")


@app.command("rotate")
def rotate(
    key: KeyName,
    overlap: Annotated[
        str, typer.Option(metavar="DURATION", help="How long tokens it had before still work; 0: not at all.")
    ] = "24h",
    expires: Annotated[str, typer.Option(metavar="T", help="A new end for the key: 90d, or a date.")] = "",
    json: Json = False,
) -> None:
    """Give a key a new token, on stdout, this once.

    Everything else about the key stays: its budgets, limits and history.
    """
    from worker.cli.times import duration_seconds

    seconds = 0 if overlap in ("0", "0s") else duration_seconds(overlap, "--overlap")
    asyncio.run(_rotate(_shown(key), seconds, _end(expires), as_json=json))


async def _rotate(text: str, overlap: int, expires_at: datetime | None, *, as_json: bool) -> None:
    async with _open() as (books, desk):
        issued = await desk.rotate(text, overlap_seconds=overlap, expires_at=expires_at)
        await _print_issued(books, desk, issued, as_json=as_json)


@app.command("revoke")
def revoke(
    key: KeyName,
    token: Annotated[
        str, typer.Option(metavar="PREFIX", help="Only this token of it, by the prefix that is listed.")
    ] = "",
    json: Json = False,
) -> None:
    """End a key for good, everywhere at once.

    Calls in flight are cut.
    """
    asyncio.run(_revoke(_shown(key), _shown(token), as_json=json))


async def _revoke(text: str, prefix: str, *, as_json: bool) -> None:
    from worker.cli import output

    async with _open() as (books, desk):
        key = await (desk.end_token(text, prefix) if prefix else desk.revoke(text))
        [document] = await _documents(books, desk, [key])
    if as_json:
        output.print_json(document)
    else:
        output.say(f"{prefix or f'{key.name} ({key.id})'} is revoked")


@app.command("freeze")
def freeze(
    key: KeyOrNone = "",
    team: Team = "",
    reason: Annotated[str, typer.Option(help="Why; it stands in the switch and the audit log.")] = "",
    json: Json = False,
) -> None:
    """Stop a key, or a team's keys, until `curb keys unfreeze`.

    Calls in flight are cut.
    """
    asyncio.run(_freeze(_one_of(key, team), team, reason, as_json=json))


async def _freeze(key: str, team: str, reason: str, *, as_json: bool) -> None:
    async with _open() as (_, desk):
        frozen = await desk.freeze_team(team, reason) if team else [(await desk.freeze(key, reason)).id]
    _print_changed("frozen", frozen, as_json=as_json)


@app.command("unfreeze")
def unfreeze(key: KeyOrNone = "", team: Team = "", json: Json = False) -> None:
    """Let a frozen key go on.

    --team: what was frozen with the team, not keys frozen one by one. Exit status 1 if nothing was frozen.
    """
    if not asyncio.run(_unfreeze(_one_of(key, team), team, as_json=json)):
        raise typer.Exit(Status.FAILED)


async def _unfreeze(key: str, team: str, *, as_json: bool) -> bool:
    async with _open() as (books, desk):
        if team:
            thawed = await desk.unfreeze_team(team)
        else:
            found = await books.store.keys.find(key)
            thawed = [found.id] if await desk.unfreeze(found.id) else []
    _print_changed("unfrozen", thawed, as_json=as_json)
    return bool(thawed)


# -- what is asked for ---------------------------------------------------------------------------


def _name(text: str) -> str:
    if not text or len(text) > _LONGEST_NAME or not text.isprintable() or text != text.strip():
        raise Misused(f"NAME: 1 to {_LONGEST_NAME} printable characters, no spaces around them")
    return _shown(text)


def _shown(text: str) -> str:
    """What names a key; not its token, which would stand in the process list."""
    from gateway.tokens import prefix_of

    if prefix_of(text):
        raise Misused("KEY: that is a whole token. Give the key's id or name; and rotate it: others saw it")
    return text


def _one_of(key: str, team: str) -> str:
    if bool(key) == bool(team):
        raise Misused("give a KEY, or --team TEAM")
    return _shown(key)


def _end(text: str) -> datetime | None:
    """`90d` from now, or a date."""
    from worker.cli.times import moment

    if not text:
        return None
    now = datetime.now(UTC)
    found = moment(text, "--expires", now)  # a duration is meant ahead, not back
    end = found if "-" in text else now + (now - found)
    if end <= now:
        raise Misused(f"--expires {text!r}: is in the past")
    return end


def _tags(written: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in written]
    if wrong := [
        text for text, (name, equals, _) in zip(written, pairs, strict=True) if not name or not equals
    ]:
        raise Misused(f"--tag {wrong[0]!r}: write NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _with_known_models(key: "Key", config: "Config") -> "Key":
    """Aliases resolved to what they stand for. Raises Misused for a tier or deployment that is none."""
    from gateway.errors import ConfigurationError
    from worker.desk.keys import with_known_models

    try:
        return with_known_models(key, config.gateway)
    except ConfigurationError as error:
        raise Misused(f"--{error}") from error


# -- what is answered ----------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _open() -> "AsyncIterator[tuple[Books, KeyDesk]]":
    from worker.cli.servers import house, open_books, who
    from worker.keys import KeyDesk

    known = house()
    async with open_books(known) as books:
        yield books, await KeyDesk.open(books.store, books.authority, known.settings, by=who())


async def _documents(books: "Books", desk: "KeyDesk", keys: Sequence["Key"]) -> list[dict[str, Any]]:
    from worker.desk.keys import key_documents

    return await key_documents(books.store, desk.secrets, keys)


async def _print_issued(books: "Books", desk: "KeyDesk", issued: "Issued", *, as_json: bool) -> None:
    """The token alone on stdout, so that a script can keep it."""
    from worker.cli import output

    [document] = await _documents(books, desk, [issued.key])
    if as_json:
        output.print_json({**document, "prefix": issued.token.prefix, "token": issued.token.text})
        return
    output.say(f"{issued.key.name}: key {issued.key.id}, prefix {issued.token.prefix}")
    output.say("  this is its token; it is kept nowhere and shown only now:")
    output.print_text(issued.token.text)


def _print_keys(documents: Sequence[dict[str, Any]]) -> None:
    from worker.cli import output

    rows = output.table(
        *("key", "name", "prefix", "state", "as", "may ask for", "rate", "per day", "per month", "last used"),
        right=("per day", "per month"),
        wrap=("as", "may ask for", "prefix"),
    )
    for each in documents:
        bound = [f"{kind} {each[kind]}" for kind in ("agent", "team", "user") if each[kind]]
        asks = [*(each["tiers"] or ()), *(each["models"] or ())]
        prefixes = [token["prefix"] for token in each["tokens"] if token["works"]]
        rows.add_row(
            each["id"],
            each["name"],
            ", ".join(prefixes),
            each["state"],
            ", ".join(bound),
            ", ".join(asks) or "everything",
            each["rate_tier"],
            *(f"${amount}" if (amount := each[name]) else "-" for name in ("daily_usd", "monthly_usd")),
            each["last_used_at"] or "never",
        )
    output.console().print(rows)


def _print_changed(what: str, key_ids: Sequence[str], *, as_json: bool) -> None:
    from worker.cli import output

    if as_json:
        output.print_json({what: list(key_ids)})
    else:
        output.say(f"{what}: {', '.join(key_ids) or 'nothing'}")
