"""What Grafana makes of the dashboards' queries: its variables and macros, as it fills them in."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.grafana.writing import DIRECTORY

RATE_SECONDS = 15
_ALL = ".*"
_REGEX_SPECIALS = re.compile(r"[\\^$*+?.()|[\]{}/]")
_VARIABLE = re.compile(r"\$(?P<plain>\w+)|\$\{(?P<braced>[^}]+)\}")
_TIME_FILTER = re.compile(r"\$__timeFilter\((\w+)\)")


@dataclass(frozen=True)
class Asked:
    """One query of one panel, as it stands in the file."""

    dashboard: str
    panel: str
    target: Mapping[str, Any]

    @property
    def to_prometheus(self) -> bool:
        return bool(self.target["datasource"]["type"] == "prometheus")

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel} {self.target['refId']}"


@dataclass(frozen=True)
class Chosen:
    """What somebody chose above the dashboard. Nothing: All."""

    agent: Sequence[str] = ()
    model: Sequence[str] = ()
    team: Sequence[str] = ()
    run: str = ""

    def expression(self, asked: Asked) -> str:
        """For Prometheus. Its data source escapes what stands in a regular expression in a string."""
        chosen = {
            name: _either([_escaped(value).replace("\\", "\\\\") for value in values])
            for name, values in self._variables()
        }
        return _filled_in(
            asked.target["expr"], {**chosen, "namespace": "default", "__rate_interval": f"{RATE_SECONDS}s"}
        )

    def sql(self, asked: Asked) -> str:
        """For PostgreSQL, over the last six hours."""
        chosen = {
            f"{name}:regex": _either([_escaped(value) for value in values])
            for name, values in self._variables()
        }
        run = "'" + self.run.replace("'", "''") + "'"
        return _filled_in(_within_hours(asked.target["rawSql"], 6), {**chosen, "run:sqlstring": run})

    def _variables(self) -> Sequence[tuple[str, Sequence[str]]]:
        return (("agent", self.agent), ("model", self.model), ("team", self.team))


def dashboards() -> Mapping[str, Mapping[str, Any]]:
    """The files, by their uid."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(DIRECTORY.glob("*.json"))}


def queries() -> Sequence[Asked]:
    """Every query of every panel."""
    return [
        Asked(uid, panel["title"], target)
        for uid, dashboard in dashboards().items()
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]


def _escaped(value: str) -> str:
    return _REGEX_SPECIALS.sub(lambda found: "\\" + found[0], value)


def _either(values: Sequence[str]) -> str:
    if not values:
        return _ALL
    return values[0] if len(values) == 1 else f"({'|'.join(values)})"


def _within_hours(sql: str, hours: int) -> str:
    """The macro for the time that is chosen above the dashboard."""
    to = datetime.now(UTC)
    ends = (f"'{at:%Y-%m-%dT%H:%M:%SZ}'" for at in (to - timedelta(hours=hours), to + timedelta(minutes=1)))
    return _TIME_FILTER.sub(rf"\1 BETWEEN {' AND '.join(ends)}", sql)


def _filled_in(text: str, values: Mapping[str, str]) -> str:
    """Every `$name` and `${name:format}`; what has no value fails, but for our own mark for quotations."""
    return _VARIABLE.sub(
        lambda found: found[0] if found[0] == "$re" else values[found["plain"] or found["braced"]], text
    )
