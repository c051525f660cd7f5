"""What these tests share."""

from collections.abc import Iterator

import pytest

from tests.simulated import SimulatedProvider


@pytest.fixture(scope="session")
def simulator() -> Iterator[SimulatedProvider]:
    """A simulated provider for all of these."""
    provider = SimulatedProvider()
    yield provider
    provider.stop()
