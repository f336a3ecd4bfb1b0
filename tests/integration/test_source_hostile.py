# SPDX-License-Identifier: LGPL-2.1-or-later
"""Replies of a skopeo that was taken over, and local sources that hang."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import images
from tests.support.leftovers import nothing_left
from tests.support.sources import Sources
from virtlayer import programs
from virtlayer.errors import ImageNotFound, VirtlayerError
from virtlayer.service.source import skopeo_sandbox

# What the real one would never answer. It answers the second request with what it is given.
FAKE = """#!/usr/bin/python3 -I
import json, os, socket, sys
number = next(int(word[9:]) for word in sys.argv if word.startswith("--sockfd="))
control = socket.socket(fileno=number)
control.recv(65536)
control.send(json.dumps({"success": True, "value": "0.2.6", "pipeid": 0, "error": ""}).encode())
control.recv(65536)
reading, writing = os.pipe()
left, right = socket.socketpair()
descriptors = {"none": [], "one": [reading], "two": [reading, reading], "many": [reading] * 20}
descriptors |= {"socket": [left.fileno()], "file": [os.open("/etc/passwd", os.O_RDONLY)]}
answer = open(os.path.dirname(__file__) + "/answer", "rb").read()
socket.send_fds(control, [answer], descriptors[open(os.path.dirname(__file__) + "/kind").read()])
control.recv(65536)
"""
OPENED = b'{"success": true, "value": 1, "pipeid": %s, "error": ""}'


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[Sources]:
    sources = Sources(tmp_path)
    with nothing_left():
        yield sources
    assert sources.left() == []


@pytest.mark.parametrize("kind", ["one", "two", "many"])
@pytest.mark.parametrize(
    "answer",
    [
        b"[" * 60_000,
        b"",
        b"\xff",
        b"{}",
        b"[]",
        b'{"success": false, "error": "no such image"}',
        b'{"success": "yes", "error": ["x"]}',
        OPENED % b'"x"',
        OPENED % (b"9" * 6000),
        b'{"success": true, "value": ' + b"[" * 5000 + b"]" * 5000 + b', "pipeid": 1}',
    ],
    ids=lambda answer: str(answer[:24]),
)
async def test_no_reply_leaves_a_descriptor(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, kind: str
) -> None:
    pretend(tmp_path, monkeypatch, answer, kind)
    with pytest.raises(VirtlayerError):
        async with sources.open("docker://127.0.0.1:1/demo:1", patience=2):
            pass


@pytest.mark.parametrize("kind", ["socket", "file"])
async def test_only_a_pipe_is_taken(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    pretend(tmp_path, monkeypatch, OPENED % b"1", kind)
    with pytest.raises(VirtlayerError, match="unexpected descriptor"):
        await sources.image("docker://127.0.0.1:1/demo:1")


def pretend(directory: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, kind: str) -> None:
    """Put a program in the place of skopeo."""
    skopeo = directory / "skopeo"
    skopeo.write_text(FAKE)
    skopeo.chmod(0o755)
    (directory / "answer").write_bytes(answer)
    (directory / "kind").write_text(kind)
    monkeypatch.setattr(programs, "_PATH", str(directory))
    allowed = (*skopeo_sandbox._PROGRAMS, str(directory))
    monkeypatch.setattr(skopeo_sandbox, "_PROGRAMS", allowed)


@pytest.mark.parametrize("file", ["index.json", "config", "manifest"])
async def test_fifo_in_a_layout_is_given_up(sources: Sources, tmp_path: Path, file: str) -> None:
    content = images.image([images.layer(images.file("data"))])
    layout = images.write_layout(tmp_path / "layout", {"1": content})
    path = layout / file
    digests = {"config": content.config_digest, "manifest": content.digest}
    if file in digests:
        path = layout / "blobs" / digests[file].replace(":", "/")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ImageNotFound, match="no progress for 1 seconds"):
        async with sources.open(f"oci:{layout}:1", patience=1):
            pass


async def test_output_of_a_program_is_limited() -> None:
    with nothing_left(), pytest.raises(programs.ProgramFailed, match="more than 1000 bytes"):
        await programs.run(["yes"], output_limit=1000)
