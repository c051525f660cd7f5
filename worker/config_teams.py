"""`teams:` in curb.yaml: whose a team is, and who is told when its budget runs out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator

from activities.channels.words import is_address
from gateway.policy.alert_routes import Route
from worker.config_channels import Channels, ChannelSection, EmailSection, channel_names
from worker.config_errors import Problem, suggestion
from worker.config_values import Section

_OWNERS_ARE_TOLD = ("daily_budget_80", "daily_budget_exceeded", "cost_threshold", "forecast_over_budget")


@dataclass(frozen=True, slots=True)
class Team:
    """department, project: what its month is counted under, '' for its own name and nothing. owners: channels
    and e-mail addresses."""

    department: str = ""
    project: str = ""
    owners: tuple[str, ...] = ()


class TeamSection(Section):
    """owner: an e-mail address, the name of a channel, or a list of them."""

    department: str = ""
    project: str = ""
    owner: Annotated[
        tuple[str, ...], BeforeValidator(lambda written: (written,) if isinstance(written, str) else written)
    ] = ()


def teams_of(sections: Mapping[str, TeamSection]) -> dict[str, Team]:
    """What the section comes to."""
    return {name: Team(each.department, each.project, each.owner) for name, each in sections.items()}


def owners_mailboxes(teams: Mapping[str, Team]) -> dict[str, ChannelSection]:
    """A channel for each address that owns a team, under the address as its name."""
    addresses = {owner for team in teams.values() for owner in team.owners if is_address(owner)}
    return {each: EmailSection(type="email", to=(each,)) for each in sorted(addresses)}


def owners_routes(teams: Mapping[str, Team]) -> tuple[Route, ...]:
    """Each team's owners are told of its budgets, besides whoever is told anyway."""
    return tuple(
        Route(team.owners, rules=_OWNERS_ARE_TOLD, scopes=(f"team:{name}",), also=True)
        for name, team in teams.items()
        if team.owners
    )


def team_checks(sections: Mapping[str, TeamSection], channels: Channels) -> Iterator[Problem]:
    """Owners that nobody could reach."""
    names = channel_names(channels)
    for team, section in sections.items():
        for owner in section.owner:
            if owner not in names and not is_address(owner):
                message = f"{owner} is neither an e-mail address nor a channel{suggestion(owner, names)}"
                yield Problem(("teams", team, "owner"), message)
