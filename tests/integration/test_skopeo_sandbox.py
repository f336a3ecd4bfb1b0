# SPDX-License-Identifier: LGPL-2.1-or-later
"""Restrictions of a compromised skopeo, checked by a program in its place."""

import json
import os
import socket
import subprocess
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from tests.support import images
from tests.support.leftovers import children, nothing_left
from tests.support.registry import Registry
from tests.support.sources import Sources
from virtlayer.programs import ProgramFailed, running
from virtlayer.service.source.skopeo_sandbox import confinement

# Each attempt is written as an expression; its result is the number of the error, or 0.
INSIDE = """
import ctypes, json, os, resource, signal, socket, sys
attempts, service, temporary = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
libc = ctypes.CDLL(None, use_errno=True)
def attach(pid):
    if libc.ptrace(16, pid, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
def write(path, size=1):
    with open(path, "wb") as file:
        file.write(bytes(size))
def bind():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
found = {}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for name, attempt in attempts.items():
    try:
        eval(attempt)
        found[name] = 0
    except OSError as error:
        found[name] = error.errno
print(json.dumps(found))
"""
EPERM, EACCES, EFBIG = 1, 13, 27


async def tried(directory: Path, **attempts: str) -> dict[str, int]:
    """Try something in the sandbox, with a directory to write to and a source to read."""
    own, source = directory / "own", directory / "source"
    for path in (own, source):
        path.mkdir(exist_ok=True)
    (source / "index.json").write_text("{}")
    launcher = confinement([source], [own], 1_000_000)
    arguments = (json.dumps(attempts), str(os.getpid()), str(own))
    async with running(
        ["/usr/bin/python3", "-I", "-c", INSIDE, *arguments], stdout=PIPE, launcher=launcher
    ) as program:
        found: Any = json.loads(await program.output())
    return dict(found)


async def test_files_of_others_are_out_of_reach(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "link").symlink_to(secret)
    found = await tried(
        tmp_path,
        source=f"open({str(tmp_path / 'source' / 'index.json')!r}).read()",
        secret=f"open({str(secret)!r}).read()",
        link=f"open({str(tmp_path / 'source' / 'link')!r}).read()",
        listing=f"os.listdir({str(tmp_path)!r})",
        shadow="open('/etc/shadow').read()",
        root="os.listdir('/')",
        configuration="open('/etc/containers/registries.conf').read()",
        names="open('/etc/resolv.conf').read()",
    )
    allowed = {"source", "configuration", "names"}
    assert {name for name, error in found.items() if not error} == allowed
    assert {found[name] for name in found.keys() - allowed} == {EACCES}


async def test_only_temporary_files_are_written(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("as it was")
    found = await tried(
        tmp_path,
        own="write(temporary + '/file')",
        folder="os.mkdir(temporary + '/directory')",
        large="write(temporary + '/large', 2_000_000)",
        other=f"write({str(tmp_path / 'other')!r})",
        new=f"write({str(tmp_path / 'new')!r})",
        source=f"write({str(tmp_path / 'source' / 'index.json')!r})",
        removal=f"os.unlink({str(tmp_path / 'other')!r})",
    )
    expected = dict.fromkeys(("other", "new", "source", "removal"), EACCES)
    assert found == {"own": 0, "folder": 0, "large": EFBIG} | expected
    assert (tmp_path / "other").read_text() == "as it was"


async def test_service_can_be_neither_traced_nor_signalled(tmp_path: Path) -> None:
    found = await tried(
        tmp_path,
        trace="attach(service)",
        memory="open(f'/proc/{service}/mem', 'rb')",
        signal="os.kill(service, 0)",
        group="os.killpg(os.getpgid(service), 0)",
        port="bind()",
    )
    assert found.pop("memory") in {EPERM, EACCES}
    # A port that the kernel chooses counts as one, too.
    assert found == {"trace": EPERM, "signal": EPERM, "group": EPERM, "port": EACCES}


async def test_no_service_of_the_host_is_reached(tmp_path: Path) -> None:
    """Least of all the keeper, which identifies the service by its user, which is skopeo's too."""
    path = tmp_path / "own" / "keeper"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as keeper:
        keeper.bind(str(path))
        keeper.listen()
        path.chmod(0o777)
        found = await tried(
            tmp_path,
            keeper=f"socket.socket(1, socket.SOCK_SEQPACKET).connect({str(path)!r})",
            datagram="socket.socket(1, socket.SOCK_DGRAM)",
            pair="socket.socketpair()",
            inet="socket.socket().close()",
        )
    assert found == {"keeper": EACCES, "datagram": EACCES, "pair": 0, "inet": 0}


async def test_every_skopeo_is_confined(tmp_path: Path) -> None:
    sources = Sources(tmp_path)
    with nothing_left(), Registry(tmp_path / "registry") as registry:
        reference = registry.store(images.image([images.layer(images.file("x"))]), "demo:1")
        before = children()
        async with sources.open(reference):
            [skopeo] = children() - before
            command = Path(f"/proc/{skopeo}/cmdline").read_bytes()
            limits = Path(f"/proc/{skopeo}/limits").read_text()
    assert command.startswith(b"skopeo\0")
    assert f"Max file size             {2**30}" in limits


@pytest.mark.parametrize("arguments", [["1"], ["x", "-r", "/", "--", "true"], ["1", "-r", "/"]])
def test_wrong_arguments_run_nothing(arguments: list[str]) -> None:
    confine = str(confinement([], [], 1)[0])
    done = subprocess.run([confine, *arguments], check=False, capture_output=True)
    assert done.returncode == 126


async def test_missing_program_is_reported(tmp_path: Path) -> None:
    launcher = confinement([], [tmp_path], 1000)
    with nothing_left():
        async with running(["no-such-program"], launcher=launcher) as program:
            with pytest.raises(ProgramFailed, match=r"exited with 127: no-such-program"):
                await program.check()
