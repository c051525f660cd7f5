"""kill -9 of a worker, at every moment of a call: the run goes on, and every cent is on the books."""

from tests.faults.scene import Scene, ids


async def test_killed_before_it_sent(scene: Scene) -> None:
    """The money is held, the connection is not there yet: nothing was bought, so nothing is owed."""
    await scene.provider_gate.shut()
    doomed = await scene.start_worker()
    run = await scene.start("talker")
    held = await scene.until_attempt(run.id, "pending")
    await doomed.kill()

    await scene.provider_gate.open()
    await scene.start_worker()
    result = await scene.result(run)

    assert result.status == "completed"
    first, second = await scene.attempts(run.id)
    assert first["attempt_id"] == held["attempt_id"]
    assert ids(await scene.invoice(run.id)) == [second["attempt_id"]]
    await scene.check_books()
    settled = await scene.store.attempts.get(first["attempt_id"])
    assert settled is not None
    assert (settled["basis"], settled["cost_nano_usd"]) == ("not_sent", 0)


async def test_killed_in_mid_stream(scene: Scene) -> None:
    """The provider bills what it had generated: in doubt at the bound first, then to the nano-dollar."""
    doomed = await scene.start_worker()
    run = await scene.start("talker")
    cut = await scene.until_streaming(run.id)
    await doomed.kill()

    await scene.start_worker()
    result = await scene.result(run)

    assert result.status == "completed"
    first, second = await scene.attempts(run.id)
    assert ids(await scene.invoice(run.id)) == [first["attempt_id"], second["attempt_id"]]
    assert first["attempt_id"] == cut["client_request_id"]
    assert (first["state"], second["state"]) == ("in_doubt", "settled")
    report = await scene.check_books()
    assert report.settled == 1
    settled = await scene.store.attempts.get(first["attempt_id"])
    assert settled is not None
    assert 0 < settled["cost_nano_usd"] < settled["reserved_nano_usd"]


async def test_killed_after_it_settled_before_it_said_so(scene: Scene) -> None:
    """Temporal never hears of the answer and has the step done again: replayed, for free."""
    doomed = await scene.start_worker()
    run = await scene.start("talker")
    await scene.until_streaming(run.id)
    await scene.temporal_gate.shut()
    settled = await scene.until_attempt(run.id, "settled")
    await doomed.kill()

    await scene.temporal_gate.open()
    await scene.start_worker()
    result = await scene.result(run)

    assert result.status == "completed"
    [only] = await scene.attempts(run.id)
    assert only["replayed"]
    assert ids(await scene.invoice(run.id)) == [only["attempt_id"]]
    assert result.cost_nano_usd == settled["cost_nano_usd"]
    await scene.check_books()
