"""What holds for all tests, and a chat server for a module of tests, whose rules are the module's `RULES`."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from servers.client import ChatServer, start_chat_server

# How long an example takes says more about the machine than about the code.
settings.register_profile("safemt", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("safemt")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name bytes by their number, not by their content.

    The workers of one run must find the same tests, and gzip writes the time into what it packs: workers that
    imported a module in different seconds stopped with "Different tests were collected".
    """
    return "bytes" if isinstance(val, bytes) else None


@pytest.fixture(scope="module")
def chat_server(request: pytest.FixtureRequest) -> Iterator[ChatServer]:
    with start_chat_server({"rules": request.module.RULES}, max_seconds=1800) as running:
        yield running


@pytest.fixture
def server(chat_server: ChatServer) -> ChatServer:
    """The chat server, with nothing counted yet."""
    chat_server.reset()
    return chat_server
