"""The worker that watches while nobody does: scheduled workflows, alerts, and their activities."""

from collections.abc import Callable, Mapping
from typing import Any

from activities.channels import Channel
from activities.dependencies import Dependencies
from activities.supervision import Supervision
from worker.config import Config
from worker.settings import Settings

WORKFLOWS: tuple[type, ...] = ()


def activities(dependencies: Dependencies, supervision: Supervision) -> list[Callable[..., Any]]:
    """Everything that the workflows of supervision may ask for."""
    return []


def supervision(
    config: Config, settings: Settings, namespace: str, temporal_ui: str, channels: Mapping[str, Channel]
) -> Supervision:
    """What supervision works by in this process."""
    return Supervision(channels=channels, temporal_ui=temporal_ui, namespace=namespace)
