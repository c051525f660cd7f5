"""Following the sums of every provider that tells them."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gateway.aggregated.account import Account
from gateway.aggregated.comparison import Comparison
from gateway.aggregated.doubts import Doubts
from gateway.config import GatewayConfig
from gateway.policy.sums import SumRules
from gateway.prices import PriceBook
from gateway.providers.usage_apis import usage_api
from gateway.reconcile import DRAIN_SECONDS, drained
from gateway.settling import Settler
from gateway.state.authority import Authority
from gateway.store import Store
from gateway.usage import BucketSource, UsageUnavailable


@dataclass(slots=True)
class SumReport:
    """What the sums decided. undecided: how many spans were left in doubt, by reason.

    followed: providers that were read to the end. unavailable: those that were not, and why.
    """

    settled: int = 0
    adjusted: int = 0
    unattributed_nano_usd: int = 0
    followed: list[str] = field(default_factory=list)
    undecided: Counter[str] = field(default_factory=Counter)
    unavailable: dict[str, str] = field(default_factory=dict)


def bucket_sources(config: GatewayConfig) -> tuple[list[BucketSource], dict[str, str]]:
    """The providers that tell sums, and those whose key cannot be read, with the reason."""
    sources: list[BucketSource] = []
    unavailable: dict[str, str] = {}
    for name, provider in config.providers.items():
        try:
            source = usage_api(provider)
        except UsageUnavailable as error:
            unavailable[name] = str(error)
        else:
            sources += [source] if source is not None else []
    return sources, unavailable


async def follow_sums(
    authority: Authority,
    store: Store,
    sources: Sequence[BucketSource],
    config: GatewayConfig,
    rules: SumRules,
    *,
    now: datetime,
    drain_seconds: float = DRAIN_SECONDS,
) -> SumReport:
    """Follow every source; one that cannot be read keeps nobody from the others.

    Running it again changes nothing. Raises StateUnavailable, StoreUnavailable.
    """
    report, settler = SumReport(), Settler(authority, store)
    if not sources:
        return report
    prices = await asyncio.to_thread(PriceBook, config.prices_overlay)  # it takes half a second
    accounts = [Account(source, prices, config, rules, now) for source in sources]
    resolved = [account for account in accounts if await _resolve(account, store, settler, report)]
    await drained(authority, drain_seconds)
    await settler.book_what_redis_had_closed()
    for account in resolved:
        await _compare(account, store, report)
    report.settled, report.adjusted = settler.settled, settler.adjusted
    return report


async def _resolve(account: Account, store: Store, settler: Settler, report: SumReport) -> bool:
    doubts = Doubts(store, settler, account)
    try:
        await account.read()
        if account.source.exclusive:
            await doubts.resolve()
    except UsageUnavailable as error:
        report.unavailable[account.provider] = str(error)
        return False
    finally:
        report.undecided += doubts.left
    return True


async def _compare(account: Account, store: Store, report: SumReport) -> None:
    comparison = Comparison(store, account)
    try:
        await comparison.compare()
    except UsageUnavailable as error:
        report.unavailable[account.provider] = str(error)
    else:
        report.followed.append(account.provider)
    finally:
        report.unattributed_nano_usd += comparison.unattributed_nano_usd
