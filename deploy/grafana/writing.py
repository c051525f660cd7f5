"""All dashboards as JSON, by the name of their file."""

import json
from collections.abc import Mapping
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana import cost_health, runs, temporal

DIRECTORY = Path(__file__).parent / "dashboards"


def documents() -> Mapping[str, str]:
    """The text of each file."""
    made = [module.dashboard().build() for module in (cost_health, runs, temporal)]
    for each in made:
        for number, panel in enumerate(each.panels or (), 1):
            panel.id_val = number
    return {
        f"{each.uid}.json": json.dumps(each, cls=JSONEncoder, sort_keys=True, indent=2) + "\n"
        for each in made
    }


def write(directory: Path = DIRECTORY) -> None:
    """Write them, and remove what is no dashboard any more."""
    written = documents()
    for path in set(directory.glob("*.json")) - {directory / name for name in written}:
        path.unlink()
    for name, text in written.items():
        (directory / name).write_text(text)
