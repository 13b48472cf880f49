"""A chat server for a module of tests, in a process of its own; its rules are the module's `RULES`."""

from collections.abc import Iterator

import pytest

from servers.client import ChatServer, start_chat_server


@pytest.fixture(scope="module")
def chat_server(request: pytest.FixtureRequest) -> Iterator[ChatServer]:
    with start_chat_server({"rules": request.module.RULES}, max_seconds=1800) as running:
        yield running


@pytest.fixture
def server(chat_server: ChatServer) -> ChatServer:
    """The chat server, with nothing counted yet."""
    chat_server.reset()
    return chat_server
