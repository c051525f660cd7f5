"""What is made of the rounds: medians over them, and ratios within each."""

from collections.abc import Callable, Mapping, Sequence

from bench.gateways import Gateway
from bench.report import Figure, percentile
from bench.rivals.loads import MANY, ONE, PACED, SIXTEEN, STREAMS, Borne, Load
from bench.rivals.programs import LITELLM, PORTKEY
from bench.upstream import PIECES
from bench.world import median

Round = Mapping[str, Mapping[str, Borne]]
"""By load, by gateway."""
_DIRECT, _CURB = "direct", "curb"
_GATEWAYS = (_CURB, PORTKEY, LITELLM)
_TIMES_AS_MANY = {LITELLM: 12.0, PORTKEY: 1.5}


def of_rounds(rounds: Sequence[Round]) -> list[Figure]:
    """Latency first, then requests a second, then streams."""
    figures = _latency(rounds)
    for load in (SIXTEEN, MANY):
        figures += _throughput(rounds, load, _TIMES_AS_MANY)
    return [*figures, *_throughput(rounds, STREAMS, {}), *_pieces(rounds)]


def of_memory(gateways: Sequence[Gateway]) -> list[Figure]:
    """Resident megabytes after all rounds, children included."""
    figures = [Figure(f"resident: {each.name}", _resident(each), "MB") for each in gateways]
    for gateway in gateways:
        for server in gateway.beside:
            own = sum(each.memory_full_info().uss for each in (server, *server.children(recursive=True)))
            figures.append(Figure(f"{server.name()} beside {gateway.name}, its own", own / 1e6, "MB"))
    return figures


def _latency(rounds: Sequence[Round]) -> list[Figure]:
    figures = [Figure(f"{ONE.name}, p50: {_DIRECT}", _over(rounds, ONE, _DIRECT, _p50), "ms")]
    for name in _GATEWAYS:
        at_most = 2.0 if name == _CURB else None
        for what, take, aim in (("p50", _p50, at_most), ("p99", _p99, None)):
            added = median([take(one[ONE.name][name]) - take(one[ONE.name][_DIRECT]) for one in rounds])
            figures.append(Figure(f"{ONE.name}, {what} added: {name}", added, "ms", at_most=aim))
    return figures


def _throughput(rounds: Sequence[Round], load: Load, aims: Mapping[str, float]) -> list[Figure]:
    figures = [
        Figure(f"{load.name}: {name}", _over(rounds, load, name, _per_second), "requests/s")
        for name in _GATEWAYS
    ]
    for name in (LITELLM, PORTKEY):
        times = median(
            [_per_second(one[load.name][_CURB]) / _per_second(one[load.name][name]) for one in rounds]
        )
        figures.append(Figure(f"{load.name}: curb / {name}", times, "x", at_least=aims.get(name)))
    for name in _GATEWAYS:
        figures.append(Figure(f"{load.name}, p50: {name}", _over(rounds, load, name, _p50), "ms"))
        figures.append(Figure(f"{load.name}, p99: {name}", _over(rounds, load, name, _p99), "ms"))
        figures.append(Figure(f"{load.name}, CPU: {name}", _over(rounds, load, name, _cpu), "ms/request"))
    beside = _over(rounds, load, _CURB, _beside)
    return [*figures, Figure(f"{load.name}, CPU: Valkey and PostgreSQL beside curb", beside, "ms/request")]


def _pieces(rounds: Sequence[Round]) -> list[Figure]:
    """What a piece of a stream costs in CPU beyond a whole answer, and how long it is on its way."""
    figures = []
    for name in _GATEWAYS:
        cpu = median([_cpu(one[STREAMS.name][name]) - _cpu(one[SIXTEEN.name][name]) for one in rounds])
        figures.append(Figure(f"a piece of a stream, CPU: {name}", cpu * 1_000 / PIECES, "us"))
    for name in (_DIRECT, *_GATEWAYS):
        for what, take in (("p50", _delay_p50), ("p99", _delay_p99)):
            delay = _over(rounds, PACED, name, take)
            figures.append(Figure(f"a piece of a paced stream, {what}: {name}", delay, "ms"))
    return figures


def _over(rounds: Sequence[Round], load: Load, name: str, take: Callable[[Borne], float]) -> float:
    return median([take(one[load.name][name]) for one in rounds])


def _per_second(borne: Borne) -> float:
    return borne.heard.per_second


def _p50(borne: Borne) -> float:
    return percentile(borne.heard.took, 50) * 1_000


def _p99(borne: Borne) -> float:
    return percentile(borne.heard.took, 99) * 1_000


def _delay_p50(borne: Borne) -> float:
    return percentile(borne.heard.delays, 50) * 1_000


def _delay_p99(borne: Borne) -> float:
    return percentile(borne.heard.delays, 99) * 1_000


def _cpu(borne: Borne) -> float:
    return borne.cpu_seconds * 1_000 / len(borne.heard.took)


def _beside(borne: Borne) -> float:
    return borne.beside_cpu_seconds * 1_000 / len(borne.heard.took)


def _resident(gateway: Gateway) -> float:
    family = (gateway.process, *gateway.process.children(recursive=True))
    return sum(each.memory_info().rss for each in family) / 1e6
