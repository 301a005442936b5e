"""Where the supervisor lets its workers meet."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from gateway.cluster.transport import socket_path
from gateway.commands.supervisor import LONGEST_PATH, _folder
from gateway.settings import ConfigurationError

NAME = len("/tandem-12345678/worker-1.sock")


@pytest.mark.parametrize("spare", [0, -1])
async def test_the_sockets_path_must_be_one_that_a_socket_can_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spare: int
) -> None:
    room = LONGEST_PATH - NAME - spare - len(os.fsencode(tmp_path)) - 1
    if room < 1:
        pytest.skip("the test's own folder is too deep for both sides of the limit")
    place = tmp_path / ("x" * room)
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    async with contextlib.AsyncExitStack() as stack:
        if spare < 0:
            with pytest.raises(ConfigurationError, match="set TMPDIR to a shorter one"):
                _folder(stack, workers=2)
        else:
            folder = _folder(stack, workers=2)
            assert len(os.fsencode(socket_path(folder, 1))) == LONGEST_PATH
            assert folder.is_dir()
    assert list(place.iterdir()) == []


async def test_a_folder_that_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    async with contextlib.AsyncExitStack() as stack:
        with pytest.raises(ConfigurationError, match="no folder"):
            _folder(stack, workers=2)
