"""A worker that is stopped for longer than its lease and goes on as if nothing had happened."""

from tests.faults.scene import Scene, ids, until


async def test_it_does_not_send_what_it_has_no_lease_for(scene: Scene) -> None:
    """Stopped between admission and sending. Its connection comes up while it sleeps; it must not use it."""
    await scene.provider_gate.shut()
    zombie = await scene.start_worker()
    run = await scene.start("talker")
    held = await scene.until_attempt(run.id, "pending")
    zombie.freeze()
    accepted = scene.provider_gate.accepted
    await scene.provider_gate.open()

    async with scene.redis() as redis:

        async def connected_and_lapsed() -> bool:
            await scene.authority.expire_overdue()
            state = await redis.hget(f"curb:a:{held['attempt_id']}", "state")
            return scene.provider_gate.accepted > accepted and state == b"in_doubt"

        await until(connected_and_lapsed)
    zombie.thaw()
    result = await scene.result(run)

    assert result.status == "completed"
    await until(lambda: _is_closed(scene, held["attempt_id"]))
    first, *_, last = await scene.attempts(run.id)
    assert (first["state"], first["error_type"]) == ("released", "lease_lapsed")
    assert ids(await scene.invoice(run.id)) == [last["attempt_id"]]
    await scene.check_books()


async def test_what_it_had_sent_is_on_the_books_beside_its_successor(scene: Scene) -> None:
    """Stopped in mid-stream: another worker buys the answer again. Both are paid for, one is stored."""
    zombie = await scene.start_worker()
    run = await scene.start("talker")
    cut = await scene.until_streaming(run.id)
    zombie.freeze()
    await scene.temporal_gate.shut()  # else Temporal would go on giving tasks to its open connections
    await scene.temporal_gate.open()
    await scene.start_worker()

    result = await scene.result(run)
    zombie.thaw()

    assert result.status == "completed"
    first, second = await scene.attempts(run.id)
    assert first["attempt_id"] == cut["client_request_id"]
    assert ids(await scene.invoice(run.id)) == [first["attempt_id"], second["attempt_id"]]
    await until(lambda: _owner_has_spoken(scene, first["attempt_id"]))
    await scene.check_books()
    items = await scene.store.conversations.load(result.conversation_id)
    assert [item.message.role for item in items] == ["user", "assistant"]


async def _is_closed(scene: Scene, attempt_id: str) -> bool:
    row = await scene.store.attempts.get(attempt_id)
    return row is not None and row["state"] in ("released", "settled")


async def _owner_has_spoken(scene: Scene, attempt_id: str) -> bool:
    """The zombie has said how its attempt ended, after the fence had put it in doubt."""
    row = await scene.store.attempts.get(attempt_id)
    return row is not None and (row["doubt_by"] == "owner" or row["state"] == "settled")
