"""Conversations that people have had with an assistant, one test for each; what counts is what the files are like.

A script calls the tools as an assistant does that knows only their descriptions, through the SDK's client and a real
server, and then measures what was delivered: lengths to the frame, the person's own samples bit for bit, levels every
twentieth of a second. A test's docstring is what the person asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.conversations.assistant import Folders, connected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conversations.assistant import Assistant


@pytest.fixture(scope="session")
def assistant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Assistant]:
    """One assistant and one server for all conversations: starting a server is most of what a short one costs."""
    with connected(Folders.below(tmp_path_factory.mktemp("home"))) as talking:
        yield talking


@pytest.fixture
def music(assistant: Assistant) -> Path:
    """The person's music folder."""
    return assistant.folders.music
