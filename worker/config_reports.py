"""`reports:` in curb.yaml: to whom the cost reports go, and how many names a table shows."""

from collections.abc import Iterator, Mapping

from pydantic import Field

from activities.channels import Channel
from activities.reports.policy import ReportPolicy
from gateway.errors import ConfigurationError
from worker.config_channels import ChannelSection, channel_names
from worker.config_errors import Problem, suggestion
from worker.config_values import Name, Section


class ReportSection(Section):
    """channels: None is `email` and `slack`, where there are any of these names; [] only keeps it."""

    channels: tuple[Name, ...] | None = None


class ReportsSection(Section):
    """Daily and weekly reports; when they are made stands under `schedules:`."""

    daily: ReportSection = ReportSection()
    weekly: ReportSection = ReportSection()
    top: int = Field(default=10, ge=1, le=100)


def report_policy(section: ReportsSection) -> ReportPolicy:
    """The section as a value."""
    return ReportPolicy(section.daily.channels, section.weekly.channels, section.top)


def report_checks(section: ReportsSection, channels: Mapping[str, ChannelSection]) -> Iterator[Problem]:
    """Channels that must be there."""
    names = channel_names(channels)
    for kind, each in (("daily", section.daily), ("weekly", section.weekly)):
        for number, name in enumerate(each.channels or ()):
            if name not in names:
                message = f"there is no channel {name}{suggestion(name, list(names))}"
                yield Problem(("reports", kind, "channels", number), message)


def reports_here(policy: ReportPolicy, channels: Mapping[str, Channel]) -> ReportPolicy:
    """How a process with these channels reports (none: it does not tell anybody).

    Raises ConfigurationError for a channel that the file names and that is not there.
    """
    for kind, named in (("daily", policy.daily), ("weekly", policy.weekly)):
        for name in named or ():
            if channels and name not in channels:
                raise ConfigurationError(
                    f"reports.{kind}.channels: there is no channel {name} here; "
                    "add it to `alerts: channels:`, or set the variables that it needs"
                )
    return policy
