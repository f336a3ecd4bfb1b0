# SPDX-License-Identifier: LGPL-2.1-or-later
"""The progress of a job: rows on a terminal, lines elsewhere, nothing for short jobs."""

import asyncio
import re

import pytest

from tests.bus.stand_in import ScriptedJob, stand_in
from tests.support.bus_daemon import Bus
from tests.support.command import started, virtlayer, virtlayer_on_terminal
from virtlayer.sizes import MIB

LAYERS = (
    ("sha256:" + "a" * 64, 30 * MIB, 10 * MIB, 30 * MIB),
    ("sha256:" + "b" * 64, 120 * MIB, 0, 480 * MIB),
    ("sha256:" + "c" * 64, 1000, 1000, 1000),
    ("sha256:" + "d" * 64, 5000, 0, 5000),
)
"""Layers that are built, downloaded, finished and waiting."""
_ESCAPE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def screen_lines(printed: str) -> list[str]:
    """The lines that appeared on a terminal, without colors and moves of the cursor."""
    return re.split(r"[\r\n]+", _ESCAPE.sub("", printed))


def colors(printed: str) -> set[str]:
    """The parameters of all changes of color."""
    return {found[1] for found in _ESCAPE.finditer(printed) if found[2] == "m"}


async def test_lines_in_a_pipe_never_go_back(bus: Bus) -> None:
    async def run(job: ScriptedJob) -> None:
        await job.awaited.wait()
        job.get_on(0.25, "downloading", 1024, 4096)
        await seen.wait()
        job.get_on(0.5, "applying", 4096, 4096)
        job.get_on(0.45, "resolving", 4096, 4096)
        job.get_on(0.55, "downloading", 4096, 4096)
        job.get_on(0.75, "applying", 4096, 4096)
        job.end("done")

    seen = asyncio.Event()
    async with (
        stand_in(bus.address, run),
        started("pull", "--user", "docker://d/demo:1", "p", env=bus.environment) as process,
    ):
        assert process.stderr is not None
        first = await process.stderr.readline()
        seen.set()
        _, rest = await process.communicate()
    lines = (first + rest).decode().splitlines()
    assert [line.split(", ")[:2] for line in lines] == [
        ["downloading 25%", "1 KiB of 4 KiB"],
        ["applying 50%", "4 KiB of 4 KiB"],
        ["applying 75%", "4 KiB of 4 KiB"],
    ]
    assert all(re.search(r"\d+ s left$", line) for line in lines[1:]), lines


@pytest.mark.parametrize("arguments", [["pull", "d"], ["pull", "d", "p"]])
async def test_short_job_shows_no_progress_in_a_pipe(bus: Bus, arguments: list[str]) -> None:
    async def run(job: ScriptedJob) -> None:
        await job.awaited.wait()
        job.get_on(0.25, "downloading", 1024, 4096)
        job.end("done")

    async with stand_in(bus.address, run):
        ended = await virtlayer("--user", *arguments, env=bus.environment)
    assert (ended.status, ended.stderr) == (0, "")


@pytest.mark.parametrize("columns", [80, 200])
async def test_terminal_gets_a_row_for_each_layer_in_work(bus: Bus, columns: int) -> None:
    async def run(job: ScriptedJob) -> None:
        await job.awaited.wait()
        job.get_on(0.3, "downloading", 150 * MIB, 510 * MIB, LAYERS)
        await shown.wait()
        job.end("done")

    shown = asyncio.Event()
    async with stand_in(bus.address, run):
        ended = await virtlayer_on_terminal(
            *("--user", "pull", "d"),
            env=bus.environment,
            columns=columns,
            awaited=("downloading bbbbbbbbbbbb", shown),
        )
    assert ended.status == 0, ended.stdout
    lines = screen_lines(ended.stdout)
    assert max(map(len, lines)) <= columns
    rows = {" ".join(line.split()[:2]): line for line in lines if "%" in line}
    assert rows.keys() >= {"building aaaaaaaaaaaa", "downloading bbbbbbbbbbbb"}
    assert not [name for name in rows if "ccc" in name or "ddd" in name]
    assert "33%" in rows["building aaaaaaaaaaaa"]
    assert "10 MiB/30 MiB" in rows["building aaaaaaaaaaaa"]
    assert "25%" in rows["downloading bbbbbbbbbbbb"]
    assert "120 MiB/480 MiB" in rows["downloading bbbbbbbbbbbb"]
    [job] = [line for line in lines if "150 MiB/510 MiB" in line][:1]
    assert job.startswith("downloading ")
    assert "━" in ended.stdout
    # Red (31, 91), magenta (35, 95) and rich's red bar (38;5;197, 38;2;249;38;114) are for errors.
    assert not {one for one in colors(ended.stdout) if re.match(r"(3|9)[15]\b|38;", one)}
    assert lines[-2] == "demo:1: /pool/layer-1.qcow2 (pulled: 2 layers built, 0 reused)"


async def test_dumb_terminal_gets_lines(bus: Bus) -> None:
    async def run(job: ScriptedJob) -> None:
        await job.awaited.wait()
        job.get_on(0.5, "downloading", 2048, 4096)
        await shown.wait()
        job.end("done")

    shown = asyncio.Event()
    async with stand_in(bus.address, run):
        ended = await virtlayer_on_terminal(
            *("--user", "pull", "d"),
            env=bus.environment,
            term="dumb",
            awaited=("downloading", shown),
        )
    assert "\x1b" not in ended.stdout
    assert screen_lines(ended.stdout)[0] == "downloading 50%, 2 KiB of 4 KiB"
