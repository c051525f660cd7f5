"""The model endpoint as activities ask it: the front door's own, with the run's identity and call key."""

import time
from dataclasses import replace
from typing import Any

from starlette.types import Receive, Scope, Send

from activities.snapshot import RunSnapshot
from gateway.calls import Call
from gateway.errors import ConfigurationError, StateUnavailable, StoreUnavailable
from gateway.http import problems
from gateway.http.endpoint import ModelEndpoint, headers_of, read_body
from gateway.http.fields import BadRequest, read_document, text
from gateway.http.reply import Reply
from gateway.http.wires import ClientRequest
from gateway.keys import Principal
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.providers.errors import ProviderError
from worker.plugin.asking import Asking, Problem, StepsUsedUp

_ANYTHING = Principal("", "supervisor", rate_tier="")
_TOTAL_TIMEOUT_FACTOR = 3


class RunEndpoint(ModelEndpoint):
    """POST of one family's model calls, from inside an activity. Why there is no answer is left with the
    activity, which tells Temporal."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def unrepeated(message: Any) -> None:
            """Whether to ask again is Temporal's to say, not the client library's."""
            if message["type"] == "http.response.start" and message["status"] >= 400:
                message["headers"] = [*message["headers"], (b"x-should-retry", b"false")]
            await send(message)

        await super().__call__(scope, receive, unrepeated)

    async def _answer(self, scope: Scope, receive: Receive, reply: Reply) -> None:
        asking: Asking = scope["curb.asking"]
        asking.problem = None
        try:
            await self._asked(asking, scope, receive, reply)
        except BadRequest as error:
            asking.problem = Problem("invalid", str(error))
            raise
        except StepsUsedUp as error:
            asking.problem = Problem("stopped", str(error))
            raise BadRequest(str(error), code="stopped") from error
        except ConfigurationError as error:
            asking.problem = Problem("Configuration", str(error))
            raise BadRequest(str(error)) from error
        except ProviderError as error:
            asking.problem = Problem(error.kind.value, f"{error.kind.value}: {error.summary[:300]}")
            raise
        except (StateUnavailable, StoreUnavailable) as error:
            asking.problem = Refusal(RefusalKind.UNAVAILABLE, detail=str(error)[:300])
            raise

    async def _asked(self, asking: Asking, scope: Scope, receive: Receive, reply: Reply) -> None:
        headers = headers_of(scope)
        body = await read_body(receive, headers, self._door.limits.body_bytes)
        document = read_document(body)
        request = self._wire.read(document, headers)
        model = self._door.models.resolve(text(document, "model"), _ANYTHING)
        snapshot = await asking.supervisor.snapshot(asking)
        key = asking.take_key(body)
        answered = False
        try:
            step = await asking.supervisor.step(asking, snapshot, key)
            reply.asked(request, key, keep=True)
            call = self._call_of(asking, snapshot, request, model, key, step, reply)
            outcome = await self._completed(call, receive)
            if isinstance(outcome, Refusal):
                asking.problem = outcome
                await asking.supervisor.note_waiting(snapshot, step, outcome)
                await reply.fail(problems.of_refusal(outcome, time.time_ns() // 1_000_000))
                return
            answered = True
        finally:
            if not answered:
                asking.give_back(key)
        await asking.supervisor.note_answer(snapshot, step)
        await reply.finish(outcome)

    @staticmethod
    def _call_of(
        asking: Asking,
        snapshot: RunSnapshot,
        request: ClientRequest,
        model: str,
        key: str,
        step: int,
        reply: Reply,
    ) -> Call:
        agent, wire = snapshot.agent, request.wire()
        if wire.max_output_tokens is None:
            wire = replace(wire, max_output_tokens=agent.max_output_tokens)
        timeout = agent.limits.call_timeout_seconds
        return Call(
            key=key,
            caller=snapshot.caller(step),
            request=wire,
            tier=model,
            run_budget_nano_usd=snapshot.budget_nano_usd,
            ancestor_budgets_nano_usd=snapshot.ancestor_budgets_nano_usd,
            agent_daily_budget_nano_usd=agent.daily_budget_nano_usd,
            cost_aware=agent.cost_aware,
            recheck=asking.info.attempt > 1,
            retried=asking.info.attempt > 1,
            timeout_seconds=timeout,
            total_timeout_seconds=timeout * _TOTAL_TIMEOUT_FACTOR,
            listener=reply,
            keep=True,
        )
