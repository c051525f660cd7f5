"""curb keys, as a person or a script uses it."""

import re

import pytest

from tests.acceptance.command import Curb


def _listed(curb: Curb, key_id: str, *options: str) -> object:
    found = curb.json("keys", "list", *options)["keys"]
    return next((each for each in found if each["id"] == key_id), None)


def test_a_token_is_shown_once_alone_on_stdout(curb: Curb) -> None:
    made = curb("keys", "create", "ci", "--agent", "worker", "--daily", "2.50", "--expires", "90d")
    token = made.out.strip()
    shown = [curb("keys", "list"), curb("keys", "list", "--json"), curb("budgets", "--json")]

    assert made.status == 0
    assert re.fullmatch(r"curb_[2-9a-z]{8}_[0-9A-Za-z]{43}", token)
    assert not any(token in each.out + each.err for each in shown)
    assert token.rpartition("_")[0] in shown[0].out
    assert "2.5" in shown[2].out


def test_a_key_is_made_rotated_frozen_and_revoked(curb: Curb) -> None:
    made = curb.json(
        *("keys", "create", "life", "--tier", "quick", "--model", "openai/gpt-5-mini", "--rate-tier", "pro"),
        *("--role", "call", "--role", "viewer", "--monthly", "30", "--tag", "app=ide"),
    )
    rotated = curb.json("keys", "rotate", "life", "--overlap", "1h")
    frozen = curb.json("keys", "freeze", made["prefix"], "--reason", "odd calls")
    switch = {each["name"]: each["value"] for each in curb.json("switch", "list")["switches"]}
    thawed = curb.json("keys", "unfreeze", made["id"])
    again = curb("keys", "unfreeze", made["id"])
    revoked = curb.json("keys", "revoke", "life")

    assert made["token"].startswith(made["prefix"])
    assert (made["tiers"], made["models"], made["roles"]) == (
        ["quick"],
        ["openai/gpt-5-mini"],
        ["call", "viewer"],
    )
    assert (made["monthly_usd"], made["daily_usd"], made["tags"]) == ("30", None, {"app": "ide"})
    assert (rotated["id"], rotated["token"] == made["token"]) == (made["id"], False)
    assert [each["ends_at"] is None for each in rotated["tokens"]] == [False, True]
    assert frozen == {"frozen": [made["id"]]}
    assert switch[f"kill:key:{made['id']}"].endswith(":odd_calls")
    assert thawed == {"unfrozen": [made["id"]]}
    assert again.status == 1
    assert revoked["state"] == "revoked"
    assert _listed(curb, made["id"]) is None
    assert _listed(curb, made["id"], "--all") == revoked


def test_a_team_is_frozen_as_one(curb: Curb) -> None:
    ids = sorted(curb.json("keys", "create", f"team{n}", "--team", "green")["id"] for n in range(2))

    assert curb.json("keys", "freeze", "--team", "green") == {"frozen": ids}
    assert {each["state"] for each in curb.json("keys", "list", "--team", "green")["keys"]} == {"frozen"}
    assert curb.json("keys", "unfreeze", "--team", "green") == {"unfrozen": ids}


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["create", "x", "--tier", "quik"], 2, "--tier quik: there is no such tier; did you mean quick?"),
        (["create", "x", "--model", "none"], 2, "--model none: there is no such deployment"),
        (["create", "x", "--role", "root"], 2, "role 'root': the roles are call"),
        (["create", "x", "--tag", "app"], 2, "--tag 'app': write NAME=VALUE"),
        (["create", "x", "--expires", "2020-01-01"], 2, "is in the past"),
        (["create", "x", "--daily", "lots"], 2, "lots"),
        (["create", " "], 2, "printable characters"),
        (["freeze"], 2, "give a KEY, or --team TEAM"),
        (["rotate", "nobody"], 1, "no key nobody; `curb keys list` has them"),
        (["rotate", "x", "--overlap", "soon"], 2, "--overlap 'soon': write a duration"),
    ],
)
def test_what_cannot_be_is_refused(curb: Curb, arguments: list[str], status: int, said: str) -> None:
    done = curb("keys", *arguments)

    assert (done.status, said in done.err) == (status, True), done.err


def test_a_token_given_as_an_argument_is_not_taken_and_not_repeated(curb: Curb) -> None:
    token = f"curb_22222222_{'a' * 43}"

    for command in ("rotate", "revoke", "freeze", "unfreeze"):
        done = curb("keys", command, token)
        assert (done.status, token in done.err + done.out) == (2, False)
        assert "that is a whole token" in done.err


def test_a_name_that_is_taken_is_refused(curb: Curb) -> None:
    first = curb.json("keys", "create", "taken")
    second = curb("keys", "create", "taken", "--daily", "1")

    assert second.status == 2
    assert f"name 'taken': the key {first['id']} has it" in second.err


def test_a_secret_of_ones_own_makes_other_servers_tokens_unknown(curb: Curb) -> None:
    made = curb.json("keys", "create", "ours")
    theirs = curb("keys", "list", "--json", CURB_KEY_SECRET="x" * 32)
    short = curb("keys", "list", CURB_KEY_SECRET="x" * 31)

    [token] = next(each for each in theirs.json["keys"] if each["id"] == made["id"])["tokens"]
    assert token["works"] is False
    assert (short.status, "at least 32 characters" in short.err) == (2, True)
