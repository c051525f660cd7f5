"""Alerts that others raise and curb tells: what an alert of Prometheus says, as an event of curb's.

Rules that curb judges itself cannot be claimed from outside: whatever is not on the list is told as
`outside_alert`, in the words that came with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from gateway.policy.alert_catalogue import SEVERITIES

OTHERWISE = "outside_alert"
_RULES = frozenset({"gateway_errors"})
_SCOPES = ("agent", "model", "provider", "team")
_SPECIAL = frozenset({"alertname", "severity", "told_by", "curb_rule", *_SCOPES})
_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class OutsideAlert:
    """One alert as Alertmanager tells it. fingerprint: of its labels."""

    status: Literal["firing", "resolved"]
    fingerprint: str
    starts_at: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The same however often it is told: told again it is no news."""
        since = self.starts_at.astimezone(UTC).isoformat(timespec="milliseconds")
        return f"alertmanager:{self.fingerprint}:{since}:{self.status}"

    @property
    def rule(self) -> str:
        """The rule under which curb tells it."""
        wanted = self.labels.get("curb_rule", "")
        return wanted if wanted in _RULES else OTHERWISE

    @property
    def scope(self) -> str:
        """What it is about, as far as curb knows such things."""
        found = ((kind, self.labels.get(kind)) for kind in _SCOPES)
        return next((f"{kind}:{name[:_CHARACTERS]}" for kind, name in found if name), "prometheus")

    @property
    def severity(self) -> Literal["", "info", "warning", "critical"]:
        """'' where it has none of ours: then it is the rule's own."""
        wanted = self.labels.get("severity", "")
        return next((each for each in SEVERITIES if each == wanted), "")

    def evidence(self) -> dict[str, Any]:
        """Its words, and under `about`, which tells alerts of one name apart, what labels say beside them."""
        rest = (f"{name}={value}" for name, value in sorted(self.labels.items()) if name not in _SPECIAL)
        said = {
            "summary": self.annotations.get("summary", ""),
            "description": self.annotations.get("description", ""),
            "alert": self.labels.get("alertname", ""),
            "about": ", ".join(rest),
            "since": f"{self.starts_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        }
        return {name: text[:_CHARACTERS] for name, text in said.items() if text}
