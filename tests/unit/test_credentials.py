"""Several keys of one provider: which one the next attempt takes."""

import asyncio
from pathlib import Path

import pytest

from gateway.config import Provider
from gateway.providers.answers import Progress
from gateway.providers.credentials import REFUSED_SECONDS, KeyPool, credentials
from gateway.providers.errors import ErrorKind, ProviderError

THREE = Provider("p", "openai", "https://x", "KEY_1", api_key_envs=("KEY_2", "KEY_3"))


class Service:
    """Takes keys, and says of some that they are no good."""

    def __init__(self) -> None:
        self.errors: dict[str, ProviderError] = {}
        self.asked: list[str] = []

    async def __call__(self, key: str) -> str:
        self.asked.append(key)
        await asyncio.sleep(0)
        if key in self.errors:
            raise self.errors[key]
        return f"answer for {key}"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in "123":
        monkeypatch.setenv(f"KEY_{number}", f"secret-{number}")


def refused() -> ProviderError:
    return ProviderError(ErrorKind.AUTH, "401", sent=True, complete=True)


def limited(seconds: float | None) -> ProviderError:
    return ProviderError(ErrorKind.RATE_LIMITED, "429", sent=True, complete=True, retry_after_seconds=seconds)


def progress() -> Progress:
    return Progress(sent=True)


def sources(provider: Provider) -> list[str]:
    return [each.source for each in credentials(provider)]


def test_keys_come_from_variables_and_files_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").write_text("filed\n")
    (tmp_path / "same").write_text("secret-2")
    files = (str(tmp_path / "one"), str(tmp_path / "same"))
    monkeypatch.delenv("KEY_3")

    assert sources(THREE) == ["KEY_1", "KEY_2"]
    assert sources(Provider("p", "openai", "https://x", api_key_files=files)) == list(files)
    both = Provider("p", "openai", "https://x", "KEY_2", api_key_files=files)
    assert [each.secret for each in credentials(both)] == ["secret-2", "filed"]


def test_a_file_stands_in_for_its_variable_only_where_that_is_not_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("filed")
    provider = Provider("p", "openai", "https://x", "KEY_1", str(tmp_path / "key"))
    before = sources(provider)
    monkeypatch.delenv("KEY_1")

    assert (before, sources(provider)) == (["KEY_1"], [str(tmp_path / "key")])


def test_that_none_is_there_is_said_with_every_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number in "123":
        monkeypatch.delenv(f"KEY_{number}")
    gone = str(tmp_path / "gone")

    with pytest.raises(ProviderError, match=r"KEY_1 is not set.*KEY_2.*KEY_3") as nothing:
        credentials(THREE)
    with pytest.raises(ProviderError, match="gone: No such file"):
        credentials(Provider("p", "openai", "http://x", api_key_files=(gone,)))
    assert (nothing.value.kind, nothing.value.sent) == (ErrorKind.AUTH, False)
    assert credentials(Provider("p", "openai", "http://127.0.0.1:1", api_key_envs=("KEY_1",))) == ()


def test_a_key_does_not_show_when_printed() -> None:
    assert "secret-1" not in repr(credentials(THREE))


async def test_keys_take_turns() -> None:
    pool, service = KeyPool(), Service()
    for _ in range(6):
        await pool.using(THREE, progress(), service)

    assert service.asked == ["secret-1", "secret-2", "secret-3"] * 2


async def test_calls_at_once_are_spread_evenly() -> None:
    pool, service = KeyPool(), Service()
    await asyncio.gather(*(pool.using(THREE, progress(), service) for _ in range(9)))

    assert sorted(service.asked) == sorted(["secret-1", "secret-2", "secret-3"] * 3)


async def test_a_revoked_key_costs_one_try_and_is_left_alone_for_a_while() -> None:
    clock = Clock()
    pool, service = KeyPool(clock), Service()
    service.errors["secret-1"] = refused()
    how_far = progress()
    answers = [await pool.using(THREE, how_far, service) for _ in range(4)]
    asked = list(service.asked)
    clock.now += REFUSED_SECONDS + 1
    service.errors.clear()
    for _ in range(3):
        await pool.using(THREE, progress(), service)

    assert all(answer.startswith("answer") for answer in answers)
    assert how_far.sent is False  # what was sent with the refused key bought nothing
    assert asked.count("secret-1") == 1
    assert "secret-1" in service.asked[len(asked) :]


async def test_a_key_out_of_quota_is_left_alone_for_as_long_as_the_provider_says() -> None:
    clock = Clock()
    pool, service = KeyPool(clock), Service()
    service.errors["secret-1"] = limited(30)
    await pool.using(THREE, progress(), service)
    service.errors.clear()
    clock.now += 29
    for _ in range(4):
        await pool.using(THREE, progress(), service)
    before = service.asked.count("secret-1")
    clock.now += 2
    await pool.using(THREE, progress(), service)

    assert (before, service.asked.count("secret-1")) == (1, 2)


async def test_when_all_are_refused_the_provider_refuses() -> None:
    pool, service = KeyPool(), Service()
    service.errors = {f"secret-{number}": refused() for number in "123"}

    for _ in range(2):
        with pytest.raises(ProviderError) as error:
            await pool.using(THREE, progress(), service)
        assert error.value.kind is ErrorKind.AUTH
    assert len(service.asked) == 6


async def test_when_all_are_out_of_quota_the_soonest_says_when_to_come_again() -> None:
    pool, service = KeyPool(), Service()
    service.errors = {"secret-1": limited(60), "secret-2": limited(7), "secret-3": limited(None)}

    with pytest.raises(ProviderError) as error:
        await pool.using(THREE, progress(), service)

    assert error.value.retry_after_seconds == 7


@pytest.mark.parametrize(
    "error",
    [
        ProviderError(ErrorKind.SERVER_ERROR, "500", sent=True, complete=True),
        ProviderError(ErrorKind.INVALID_REQUEST, "400", sent=True, complete=True),
        ProviderError(ErrorKind.RATE_LIMITED, "in mid-stream", sent=True, complete=False),
    ],
)
async def test_what_is_not_about_the_key_is_not_tried_with_another(error: ProviderError) -> None:
    pool, service = KeyPool(), Service()
    service.errors["secret-1"] = error

    with pytest.raises(ProviderError):
        await pool.using(THREE, progress(), service)
    assert service.asked == ["secret-1"]


async def test_another_key_under_the_same_name_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, service = KeyPool(), Service()
    service.errors["secret-1"] = refused()
    await pool.using(THREE, progress(), service)
    monkeypatch.setenv("KEY_1", "secret-new")
    for _ in range(3):
        await pool.using(THREE, progress(), service)

    assert "secret-new" in service.asked


async def test_without_keys_nothing_is_sent_along() -> None:
    service = Service()

    await KeyPool().using(Provider("p", "openai", "http://127.0.0.1:1"), progress(), service)

    assert service.asked == [""]
