"""What the activities of one process work with; built once by the worker."""

from collections.abc import Mapping
from dataclasses import dataclass

from activities.snapshot import Snapshots
from activities.toolbox import Toolbox
from gateway.agents import Agent
from gateway.gateway import Gateway
from gateway.metrics import Metrics
from gateway.state.authority import Authority
from gateway.store import Store


@dataclass(frozen=True, slots=True)
class Dependencies:
    """agents: by name, from curb.yaml and from the modules of --tools.

    search_attributes: whether the Temporal server knows curb's search attributes.
    """

    gateway: Gateway
    authority: Authority
    store: Store
    toolbox: Toolbox
    agents: Mapping[str, Agent]
    metrics: Metrics
    snapshots: Snapshots
    search_attributes: bool
