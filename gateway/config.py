"""What the gateway is configured with: deployments, tiers, providers. Frozen, read once at the edge."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.policy.breaker import BreakerRules
from gateway.policy.money import NanoUsd, usd
from gateway.policy.rate_limits import RateLimits

FamilyName = Literal["openai", "anthropic"]
CacheUse = Literal["off", "auto", "exact", "semantic"]
Api = Literal["chat", "responses", "embeddings"]
UsageApi = Literal["", "openai", "anthropic"]


@dataclass(frozen=True, slots=True)
class Provider:
    """Where requests go. api_key_env names the environment variable that holds the key, api_key_file a file
    that does where it is not set; api_key_envs and api_key_files are of further keys that share the calls.

    usage_api: who tells what was used, at usage_url, to whoever has the key of usage_key_env or
    usage_key_file ('' or no key: nobody). usage_api_key_id: the provider's id of the key that curb calls
    with, to count that one alone. exclusive_key: nobody but curb uses what is counted. responses: whether it
    has OpenAI's Responses API, too; who has not gets such requests as chat. batches: whether it
    has its family's batch API, at batch prices.
    """

    name: str
    family: FamilyName
    base_url: str
    api_key_env: str = ""
    api_key_file: str = ""
    invoice_url: str = ""  # the simulator's GET /invoice; '' where usage is not to be had
    usage_api: UsageApi = ""
    usage_url: str = ""
    usage_key_env: str = ""
    usage_key_file: str = ""
    usage_api_key_id: str = ""
    exclusive_key: bool = False
    api_key_envs: tuple[str, ...] = ()
    api_key_files: tuple[str, ...] = ()
    responses: bool = False
    batches: bool = False

    def speaks(self, family: FamilyName, api: Api) -> bool:
        """Whether a document for this API of this family can go there as it is."""
        return self.family == family and (api != "responses" or self.responses)


@dataclass(frozen=True, slots=True)
class Deployment:
    """One provider's one model, as tiers name it: `anthropic/claude-sonnet-4-5`.

    model: the name on the wire. price_model: the name to look the price up under.
    ceiling_*: nano-dollars per million tokens to charge when no price is known (I10);
    None means: no price, no call. kind: whether it answers or makes embeddings. context_window_tokens: how
    much prompt and answer it takes together; None: nobody knows, only trying tells.
    """

    name: str
    provider: str
    model: str
    price_model: str = ""
    max_output_tokens: int = 8192
    tokens_per_image: int | None = None
    overhead_tokens: int = 64
    ceiling_nano_usd_per_mtok: NanoUsd | None = None
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    kind: Literal["chat", "embedding"] = "chat"
    context_window_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Tier:
    """A class of models in order of preference, with its soft daily budget.

    max_output_tokens: the most that callers get who do not say how much they want; None: they must.
    larger: deployments beyond the tier, for requests that are too long for its own. on_content_refusal:
    what happens when a deployment refuses for the content: `stop` hands that to the caller, `next` asks
    the tier's next deployment. queue_seconds: how long a call may wait in line once every deployment has
    said when to come again; 0: it is refused at once.
    weights: who gets which share of the calls, by deployment; without any the order decides.
    prefer: `cheapest` asks first whoever may cost least for the request at hand.
    """

    name: str
    deployments: tuple[str, ...]
    daily_budget_nano_usd: NanoUsd | None = None
    max_output_tokens: int | None = None
    larger: tuple[str, ...] = ()
    on_content_refusal: Literal["stop", "next"] = "stop"
    queue_seconds: float = 0.0
    weights: Mapping[str, int] = field(default_factory=dict)
    prefer: Literal["order", "cheapest"] = "order"


@dataclass(frozen=True, slots=True)
class Velocity:
    """Thresholds of money per sliding window and agent (REQUIREMENTS 1)."""

    window_seconds: int = 300
    alert_nano_usd: NanoUsd = usd(5)
    pause_nano_usd: NanoUsd = usd(15)
    pause_seconds: int = 600
    global_nano_usd: NanoUsd = usd(50)


@dataclass(frozen=True, slots=True)
class SemanticRules:
    """How similar requests share an answer: by vectors that a deployment makes of the last thing said.

    threshold: cosine, 0 to 1. dimensions: of the vectors. most_characters: of a text, from its beginning.
    """

    deployment: str
    threshold: float = 0.95
    dimensions: int = 256
    most_characters: int = 8_000
    timeout_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class CacheRules:
    """The cache of answers. shared: between keys and agents. most_bytes: of one answer."""

    off: bool = False
    ttl_seconds: float = 3_600.0
    shared: bool = False
    most_bytes: int = 262_144
    semantic: SemanticRules | None = None


@dataclass(frozen=True, slots=True)
class BatchRules:
    """Batches of providers. poll_seconds: how often one is looked at. send_seconds: how long after its turn
    came one may still be sent. most_requests: in one.
    hold_seconds: how long its money is held for certain: the providers' 24 hours, and time to fetch what came
    of it. keep_file_seconds: how long files are to be had; None: for ever."""

    poll_seconds: float = 30.0
    send_seconds: float = 30.0
    most_requests: int = 10_000
    hold_seconds: float = 26 * 3_600.0
    keep_file_seconds: float | None = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Everything Gateway decides by, besides the budgets (which live in Postgres and Redis).

    tiers: cheapest first: a soft refusal or pressure moves one to the left.
    timezone, day_start_seconds: when the accounting day begins (IANA zone name, seconds after
    midnight). queue_calls: how many calls of one process may wait in line (Tier.queue_seconds).
    """

    providers: dict[str, Provider]
    deployments: dict[str, Deployment]
    tiers: tuple[Tier, ...]
    prices_overlay: tuple[dict[str, object], ...] = ()
    aliases: dict[str, str] = field(default_factory=dict)
    timezone: str = "UTC"
    day_start_seconds: int = 0
    downgrade_at_ratio: float = 0.80
    velocity: Velocity = field(default_factory=Velocity)
    rate_limits: RateLimits = field(default_factory=RateLimits)
    breaker: BreakerRules = BreakerRules()
    cache: CacheRules = CacheRules()
    lease_seconds: float = 5.0
    lease_grace_seconds: float = 2.0
    outbox_max: int = 100_000
    queue_calls: int = 100
    doubt_settles_after_seconds: float = 86_400.0
    batches: BatchRules = BatchRules()
