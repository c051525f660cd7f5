"""How fast a channel may be spoken to."""

import asyncio

import pytest

from activities.channels import ChannelBusy
from activities.channels.pace import Pace


def waits(pace: Pace, count: int, now: float = 100.0) -> list[float]:
    return [pace.claim("ops", now) for _ in range(count)]


def test_messages_wait_for_one_another() -> None:
    assert waits(Pace(1.0), 4) == [0.0, 1.0, 2.0, 3.0]


def test_a_few_go_at_once() -> None:
    assert waits(Pace(1.0, burst=3), 5) == [0.0, 0.0, 0.0, 1.0, 2.0]


def test_after_a_while_of_silence_nothing_waits() -> None:
    pace = Pace(1.0, burst=2)
    waits(pace, 4)
    assert waits(pace, 3, now=110.0) == [0.0, 0.0, 1.0]


def test_whoever_would_wait_too_long_is_told_how_long() -> None:
    pace = Pace(1.0, patience_seconds=2.0)
    assert waits(pace, 3) == [0.0, 1.0, 2.0]
    with pytest.raises(ChannelBusy) as caught:
        pace.claim("ops", 100.0)
    assert caught.value.retry_after_seconds == 3.0
    assert pace.claim("ops", 102.0) == 1.0, "the one that was refused took no turn"


def test_a_channel_that_asks_for_quiet_gets_it() -> None:
    pace = Pace(1.0, burst=3, patience_seconds=5.0)
    pace.hold(30.0, now=100.0)
    with pytest.raises(ChannelBusy) as caught:
        pace.claim("ops", 100.0)
    assert caught.value.retry_after_seconds == 30.0
    assert waits(pace, 2, now=130.0) == [0.0, 1.0]


async def test_a_turn_comes_when_it_is_due() -> None:
    pace, clock = Pace(0.02), asyncio.get_running_loop().time
    start = clock()
    await asyncio.gather(*(pace.turn("ops") for _ in range(3)))
    assert clock() - start >= 0.039
