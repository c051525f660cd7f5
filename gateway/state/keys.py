"""Every key that curb keeps in Redis, and how long it lives.

All but the switches begin with one prefix (`curb:` by default). The names of switches are
literal, so that plain redis-cli works.
"""

from dataclasses import dataclass
from typing import Literal

Lifetime = Literal["ttl", "rule"]


@dataclass(frozen=True, slots=True)
class KeyRule:
    """One family of keys. pattern: a glob without the prefix.

    lifetime: `ttl` keys always expire by themselves; `rule` keys live until something named in
    `why` removes them.
    """

    pattern: str
    lifetime: Lifetime
    why: str


KEYS: tuple[KeyRule, ...] = (
    KeyRule("epoch", "rule", "present while admission is open; deleted when it closes"),
    KeyRule("seq", "rule", "the number of the last decision; set back when an epoch opens"),
    KeyRule("server", "rule", "the server, by its run id, that the epoch was opened on"),
    KeyRule("closed", "rule", "why admission is closed; deleted when an epoch opens"),
    KeyRule("limits", "rule", "the table of limits; replaced as a whole"),
    KeyRule("limits_version", "rule", "the version of that table"),
    KeyRule("outbox", "rule", "the stream to the ledger; entries go when they are committed"),
    KeyRule("pending", "rule", "deadlines of pending reservations; an entry goes when its attempt ends"),
    KeyRule("counters", "rule", "names of counters by their end of life; pruned whenever one is added"),
    KeyRule("agents", "rule", "the newest day counter of each agent; one entry per agent"),
    KeyRule("switches", "rule", "switches as last seen; an entry goes with its switch"),
    KeyRule("paused", "rule", "agents paused for their daily budget; pruned when limits change"),
    KeyRule("c:*", "ttl", "a counter: end of its window + 40 days; a run's: 35 days after its last calls"),
    KeyRule("a:*", "ttl", "a reservation: 48 h after it was settled or released; see below"),
    KeyRule("call:*", "ttl", "attempts of a call: 48 h after the last"),
    KeyRule("live:*", "ttl", "pending attempts of an agent: 1 h after the last was admitted or renewed"),
    KeyRule("busy:*", "ttl", "pending attempts of a key whose calls in flight are limited: as `live:*`"),
    KeyRule(
        "rate:*", "ttl", "the times of the last requests that a rate counts: its window after the newest"
    ),
    KeyRule("breaker:*", "ttl", "a deployment's breaker: some minutes after its last bad call"),
    KeyRule("v:*", "ttl", "velocity of an agent: its window + 1 minute"),
    KeyRule("posted:*", "ttl", "a posting that was done: 40 days"),
    KeyRule("topped:*", "ttl", "a top-up that was done: 40 days"),
    KeyRule("cut:*", "ttl", "a run whose calls are being cut: a minute"),
    KeyRule("lead:*", "ttl", "who leads a job that one process does: seconds"),
)
"""Keys with the prefix. One exception: `a:*` without a TTL while pending or in doubt, because
such money must be settled or released by somebody and may not fade away."""

REBUILT: tuple[str, ...] = (
    *("limits", "limits_version", "pending", "counters", "agents", "paused", "switches"),
    *("c:*", "a:*", "call:*", "live:*", "busy:*", "posted:*", "topped:*"),
)
"""What a rebuild replaces. Not the outbox: what is in it may not be in Postgres yet; nor rates, of which
Postgres knows nothing."""

SWITCHES: tuple[str, ...] = (
    "kill:global",
    "kill:agent:*",
    "kill:provider:*",
    "kill:model:*",
    "kill:key:*",
    "throttle:agent:*",
)
"""Switches: they live as long as whoever set them said."""

OPEN_STATES = ("pending", "in_doubt")
OUTBOX_GROUP = "ledger"


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of keys that Python touches; scripts build the others by the same rules."""

    prefix: str = "curb:"

    def __call__(self, name: str) -> str:
        return self.prefix + name

    def reservation(self, attempt_id: str) -> str:
        return f"{self.prefix}a:{attempt_id}"

    def live(self, agent: str) -> str:
        return f"{self.prefix}live:{agent}"

    def cut(self, run_id: str) -> str:
        return f"{self.prefix}cut:{run_id}"
