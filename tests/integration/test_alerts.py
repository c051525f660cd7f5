"""From an event to a person: outbox, drainer, dispatcher, workflow, and channels over real HTTP.

One worker for the module. Each test has agents of its own, so that its alerts are its own too.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.worker import Replayer

from activities.alert_messages import AlertInput
from activities.alert_text import workflow_id
from gateway.policy.alert_routes import Silence
from gateway.policy.money import usd
from tests.integration.alert_house import House, a, about, alert_house
from tests.integration.receivers import Answer
from tests.integration.runs import eventually
from worker.temporal import sandbox
from worker.wiring import Servers
from workflows.alert import Alert
from workflows.queues import SUPERVISION


@pytest.fixture(scope="module")
async def house(temporal: Client, redis_url: str, database: str) -> AsyncIterator[House]:
    async with alert_house(temporal, Servers(redis_url, database)) as house:
        yield house


async def test_an_event_of_the_hot_path_reaches_a_channel_with_its_numbers(house: House) -> None:
    agent = a("coder")
    evidence = {"spent_nano_usd": usd("6.203144"), "window_seconds": 300}
    await house.factory.authority.alert("velocity_warning", f"agent:{agent}", evidence)

    [message] = await house.until(house.chat, agent, "firing")

    assert message["title"] == f"{agent} spent $6.20 in 5 minutes"
    assert {"name": "spent", "value": "$6.203144"} in message["fields"]
    assert message["severity"] == "warning"
    alert = await house.alert(agent)
    assert message["key"] == workflow_id(alert.id)
    assert f"curb alerts ack {alert.id}" in message["text"]
    assert about(house.pager, agent) == []


async def test_the_same_again_is_the_same_alert_and_no_second_message(house: House) -> None:
    agent = a("patient")
    for n in range(3):
        await house.fire("provider_down", agent, key=f"{agent}-{n}")
    await house.fire("provider_down", agent, key=f"{agent}-0")

    await house.until_noticed()
    await house.until(house.chat, agent, "firing")

    assert (await house.alert(agent)).count == 3


async def test_what_gets_worse_is_told_again_and_to_those_who_care_for_the_severe(house: House) -> None:
    agent = a("worse")
    await house.fire("success_rate", agent, evidence={"success_ratio": 0.94})
    await house.until(house.chat, agent, "firing")
    await house.fire("success_rate", agent, evidence={"success_ratio": 0.85}, severity="critical")

    [page] = await house.until(house.pager, agent, "firing")
    first, second = await house.until(house.chat, agent, "firing", "firing")

    assert (page["severity"], page["title"]) == ("critical", "Only 85% of the calls succeed")
    assert (first["number"], second["number"]) == (1, 2)
    assert first["key"] == second["key"]


async def test_the_end_is_told_to_those_who_were_told(house: House) -> None:
    agent = a("over")
    await house.fire("velocity_critical", agent)
    await house.until(house.chat, agent, "firing")
    await house.until(house.pager, agent, "firing")
    await house.fire("velocity_critical", agent, state="resolved")

    await house.until(house.chat, agent, "firing", "resolved")
    _, end = await house.until(house.pager, agent, "firing", "resolved")

    assert end["status"] == "resolved"
    assert (await house.alert(agent)).resolution == "over"


async def test_what_is_not_seen_for_its_time_is_over(house: House) -> None:
    agent = a("quiet")
    await house.fire("error_rate", agent)

    _, end = await house.until(house.chat, agent, "firing", "resolved")

    assert end["text"].startswith("It was not seen again for ")
    assert (await house.until_status(agent, "resolved")).resolution == "quiet"


async def test_after_its_end_the_same_is_a_new_alert(house: House) -> None:
    agent = a("again")
    await house.fire("provider_down", agent)
    await house.until(house.chat, agent, "firing")
    await house.fire("provider_down", agent, state="resolved")
    await house.until(house.chat, agent, "firing", "resolved")
    await house.fire("provider_down", agent)

    first, end, second = await house.until(house.chat, agent, "firing", "resolved", "firing")
    assert first["key"] == end["key"] != second["key"]


async def test_it_is_told_again_only_when_it_is_seen_after_its_quiet_time(house: House) -> None:
    agent = a("often")
    await house.fire("provider_down", agent)
    await house.until(house.chat, agent, "firing")
    quiet_until = (await house.alert(agent)).quiet_until
    assert quiet_until is not None

    async def is_past() -> bool:
        return datetime.now(UTC) > quiet_until

    await eventually(is_past)
    await house.fire("provider_down", agent)

    _, again = await house.until(house.chat, agent, "firing", "repeated")
    assert again["text"].startswith("Seen 2 times since ")


async def test_what_nobody_acknowledges_goes_further_up(house: House) -> None:
    agent = a("lonely")
    await house.fire("provider_down", agent)

    [page] = await house.until(house.pager, agent, "escalated")

    assert "Nobody has acknowledged this for" in page["text"]


async def test_an_acknowledgement_in_the_temporal_ui_is_written_down_and_stops_the_escalation(
    house: House,
) -> None:
    agent = a("patient")
    await house.fire("provider_down", agent)
    await house.until(house.chat, agent, "firing")
    handle = house.handle(await house.alert(agent))
    await handle.signal("acknowledge", "ann")

    acknowledged = await house.until_status(agent, "acknowledged")
    await eventually(lambda: house.shows(agent, "looks after it"))

    assert acknowledged.acknowledged_by == "ann"
    [entry] = [e for e in await house.store.events.audit_log() if e.target == acknowledged.id]
    assert (entry.actor, entry.action) == ("ann", "alert_ack")


async def test_an_acknowledgement_in_the_store_alone_is_enough(house: House) -> None:
    agent = a("patient")
    await house.fire("provider_down", agent)
    await house.until(house.chat, agent, "firing")
    alert = await house.alert(agent)
    assert await house.store.alerts.acknowledge(alert.id, "bob", "", datetime.now(UTC))
    assert not await house.store.alerts.acknowledge(alert.id, "carl", "", datetime.now(UTC))

    await eventually(lambda: house.shows(agent, "bob looks after it"))
    assert not await house.store.alerts.nudged()


async def test_a_person_may_say_that_it_is_over(house: House) -> None:
    agent = a("patient")
    await house.fire("provider_down", agent)
    await house.until(house.chat, agent, "firing")
    alert = await house.alert(agent)
    await house.handle(alert).signal("resolve", "ann")

    _, end = await house.until(house.chat, agent, "firing", "resolved")
    assert "Ended by ann" in end["text"]


async def test_one_channel_that_is_down_delays_no_other(house: House) -> None:
    agent = a("half")
    house.broken.says(Answer(instead="hang"))
    await house.fire("provider_down", agent)

    await house.until(house.chat, agent, "firing")
    await house.fire("provider_down", agent, state="resolved")
    await house.until(house.chat, agent, "firing", "resolved")

    assert (await house.delivery(agent, "broken")).state == "pending"
    handle = house.handle(await house.alert(agent))
    await handle.terminate()


async def test_a_channel_that_was_down_hears_only_how_it_ended(house: House) -> None:
    agent = a("half")
    house.broken.answers.clear()
    house.broken.says(Answer(503, "in a moment"))
    await house.fire("provider_down", agent)
    await house.until(house.broken, agent, "firing")
    await house.fire("provider_down", agent, state="resolved")

    await house.until(house.broken, agent, "firing", "resolved")
    assert (await house.delivery(agent, "broken")).state == "superseded"


async def test_a_channel_that_is_busy_is_told_when_it_says(house: House) -> None:
    agent = a("half")
    house.broken.answers.clear()
    house.broken.says(Answer(429, "slow down", {"Retry-After": "1"}))
    await house.fire("provider_down", agent)

    refused, taken = await house.until(house.broken, agent, "firing", "firing")

    assert refused == taken | {"text": refused["text"]}
    await eventually(lambda: house.has_state(agent, "broken", "delivered"))
    delivery = await house.delivery(agent, "broken")
    assert (delivery.state, delivery.tries) == ("delivered", 2)


async def test_what_a_channel_refuses_is_not_tried_again_and_can_be_seen(house: House) -> None:
    agent = a("half")
    house.broken.says(Answer(403, "no such hook"))
    await house.fire("provider_down", agent)
    await house.until(house.chat, agent, "firing")
    await eventually(lambda: house.has_state(agent, "broken", "refused"))

    delivery = await house.delivery(agent, "broken")
    assert "no such hook" in delivery.error
    assert (delivery.tries, len(about(house.broken, agent))) == (1, 1)


async def test_a_crash_between_any_two_steps_repeats_nothing(house: House) -> None:
    agent = a("patient")
    await house.fire("provider_down", agent)
    await house.until(house.chat, agent, "firing")
    await house.until_noticed()
    unnoticed = "UPDATE events SET noticed_at = NULL WHERE scope = %(scope)s"
    await house.store._database.select(unnoticed, {"scope": f"agent:{agent}"})

    await house.dispatcher().round()
    await house.dispatcher().round()
    await house.fire("provider_down", agent, state="resolved")

    await house.until(house.chat, agent, "firing", "resolved")
    assert (await house.alert(agent)).count == 1


async def test_an_alert_whose_workflow_is_gone_is_followed_again(house: House) -> None:
    agent = a("patient")
    await house.fire("provider_down", agent)
    await house.until(house.chat, agent, "firing")
    alert = await house.alert(agent)
    handle = house.handle(alert)
    await handle.terminate()
    past = "UPDATE alerts SET look_at = now() - interval '1 hour' WHERE id = %(id)s"
    await house.store._database.select(past, {"id": alert.id})

    await house.dispatcher(overlooked_seconds=60).inspect()

    async def looked() -> bool:
        found = await house.store.alerts.get(alert.id)
        return found.look_at is not None and found.look_at > datetime.now(UTC)

    await eventually(looked)
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    assert len(about(house.chat, agent)) == 1


async def test_a_silence_holds_back_until_it_is_ended(house: House) -> None:
    agent = a("patient")
    silence = Silence(agent[-6:], "", "", agent, "", datetime.now(UTC) + timedelta(hours=1), "ann", "known")
    await house.store.alerts.silence(silence)
    await house.fire("provider_down", agent)
    await house.until_noticed()
    await eventually(lambda: house.shows(agent, "silenced by ann"))
    assert about(house.chat, agent) == []

    ended = await house.store.alerts.end_silence(silence.id[:4])

    assert ended is not None
    await house.until(house.chat, agent, "firing")


async def test_a_switch_set_by_hand_is_told_and_so_is_its_end(house: House) -> None:
    agent, name = "red-coder", "kill:agent:red-coder"
    await house.factory.authority.set_switch(name, "manual:adam:runaway_loop")
    [message] = await house.until(house.chat, agent, "firing")
    await house.factory.authority.clear_switch(name)

    await house.until(house.chat, agent, "firing", "resolved")
    assert message["title"] == "red-coder is switched off by adam: runaway loop"
    assert message["data"]["team"] == "red"
    assert {"name": "reason", "value": "runaway loop"} in message["fields"]


async def test_a_switch_that_curb_set_is_not_told_beside_its_cause(house: House) -> None:
    agent = a("caught")
    await house.fire("velocity_critical", agent, evidence={"spent_nano_usd": usd(16), "window_seconds": 300})
    await house.until(house.chat, agent, "firing")
    name = f"kill:agent:{agent}"
    await house.factory.authority.set_switch(name, "auto:velocity:curb:$16.00 in 300 s", 600_000)

    async def noted() -> bool:
        return (await house.alert(agent)).action.startswith(f"{name} is set until ")

    await eventually(noted)
    await house.factory.authority.clear_switch(name)
    await eventually(lambda: house.has_done(agent, f"{name} is lifted"))
    assert len(about(house.chat, agent)) == 1


async def test_the_workflow_goes_on_as_new_and_forgets_nothing(house: House) -> None:
    agent = a("patient")
    await house.fire("provider_down", agent)
    await house.until(house.chat, agent, "firing")
    alert = await house.alert(agent)
    handle = house.handle(alert)
    await handle.terminate()
    await house.factory.client.start_workflow(
        "Alert", AlertInput(alert=alert.id, looks_before_new=1), id=handle.id, task_queue=SUPERVISION
    )

    async def continued() -> bool:
        info = (await handle.describe()).raw_description.workflow_execution_info
        return info.first_run_id != info.execution.run_id

    await eventually(continued)
    await house.fire("provider_down", agent, state="resolved")
    await house.until(house.chat, agent, "firing", "resolved")


async def test_histories_of_alerts_replay(house: House) -> None:
    replayer = Replayer(
        workflows=[Alert],
        data_converter=house.factory.client.data_converter,
        workflow_runner=sandbox(),
    )
    replayed = 0
    async for found in house.factory.client.list_workflows("WorkflowType = 'Alert'"):
        handle = house.factory.client.get_workflow_handle(found.id, run_id=found.run_id)
        history = await handle.fetch_history()
        if history.events[-1].event_type != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
            await replayer.replay_workflow(history)
            replayed += 1
    assert replayed


async def test_an_event_that_cannot_be_put_into_words_holds_up_nobody(house: House) -> None:
    odd, after = a("odd"), a("patient")
    await house.fire("error_rate", odd, evidence={"error_ratio": 10**300})
    await house.fire("provider_down", after)

    await house.until(house.chat, after, "firing")
    await house.until_noticed()
