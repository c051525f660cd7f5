"""curb alerts: what fires, who looks after it, who wants quiet; with `curb dev` and its default routes."""

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.acceptance.command import Curb


@contextlib.contextmanager
def switched_off(curb: Curb, agent: str) -> Iterator[Any]:
    """An agent is switched off by hand; yields the alert about it, once the log was told."""
    assert curb("switch", "set", "agent", agent, "--reason", "drill").status == 0
    yield until_alert(curb, agent, lambda alert: "delivered" in states(alert))
    assert curb("switch", "clear", "agent", agent).status == 0


def until_alert(curb: Curb, agent: str, condition: Any, *options: str) -> Any:
    def look() -> list[Any]:
        return [a for a in curb.json("alerts", "list", *options)["alerts"] if a["agent"] == agent]

    return curb.until(look, lambda found: any(condition(each) for each in found))[0]


def states(alert: Any) -> list[str]:
    return [each["state"] for each in alert["told"]]


def test_an_alert_is_listed_acknowledged_and_over(curb: Curb) -> None:
    with switched_off(curb, "chatter") as alert:
        assert (alert["rule"], alert["severity"], alert["status"]) == ("switch_set", "warning", "firing")
        assert alert["evidence"]["reason"] == "drill"
        assert [(each["kind"], each["channel"]) for each in alert["told"]] == [("firing", "log")]

        acknowledged = curb.json("alerts", "ack", alert["id"][:5], "--note", "I know")
        [line] = [row for row in curb("alerts", "list").out.splitlines() if alert["id"] in row]
        [mine] = [a for a in curb.json("alerts", "list")["alerts"] if a["id"] == alert["id"]]

    assert acknowledged["signalled"] is True
    assert "chatter is switched off by" in line
    assert (mine["status"], mine["note"]) == ("acknowledged", "I know")
    assert mine["acknowledged_by"] == acknowledged["acknowledged_by"]
    ended = until_alert(curb, "chatter", lambda each: each["status"] == "resolved", "--all")
    assert ended["resolution"] == "over"
    late = curb("alerts", "ack", alert["id"])
    assert (late.status, "is over already" in late.err) == (1, True)


def test_what_is_silenced_is_written_down_and_told_when_the_silence_ends(curb: Curb) -> None:
    made = curb.json("alerts", "silence", "--agent", "asker", "--for", "1h", "--reason", "drill")["silence"]
    assert curb("switch", "set", "agent", "asker").status == 0
    held = until_alert(curb, "asker", lambda alert: True)
    listed = curb.json("alerts", "list", "--silences")["silences"]
    ended = curb.json("alerts", "silence", "--end", made["id"])["silence"]

    told = until_alert(curb, "asker", lambda alert: "delivered" in states(alert))
    assert curb("switch", "clear", "agent", "asker").status == 0
    assert (held["silence"], held["told"]) == (made["id"], [])
    assert made in listed
    assert (ended["id"], told["id"]) == (made["id"], held["id"])


def test_a_silence_says_what_and_for_how_long(nowhere: Curb) -> None:
    wrong = [("--for", "1h"), ("--agent", "coder"), ("--rule", "velocty", "--for", "1h")]
    done = [nowhere("alerts", "silence", *arguments) for arguments in wrong]

    assert [each.status for each in done] == [2] * len(wrong)
    assert "say what to silence" in done[0].err
    assert "--for is missing" in done[1].err
    assert "did you mean" in done[2].err


def test_what_is_not_there_says_so(curb: Curb, nowhere: Curb) -> None:
    assert curb("alerts", "silence", "--end", "nosuch").status == 1
    assert nowhere("alerts", "list").status == 3
