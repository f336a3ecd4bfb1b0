# SPDX-License-Identifier: LGPL-2.1-or-later
"""Arguments that no call may have are refused by the call itself, and forge nothing in the log."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from dbus_next.signature import Variant

from tests.bus.daemon import Daemon, virtlayerd
from tests.support.bus_daemon import Bus
from virtlayer.dbus.connection import BusError
from virtlayer.service.bus.options.images import PullOptions
from virtlayer.service.bus.options.machines import CreateDomainOptions
from virtlayer.service.bus.options.source import SourceOptions

MIB = 1024**2
JOB = "org.virtlayer1.Job"
SOURCE = "docker://x.test/y"
FORGED = "default\nINFO: Job 77: done"
INVALID_NAMES = (FORGED, "a/b", "x" * 300, "", "\x1b[2J", "a\u2028b", "..")
INVALID_SIZES = (0, 1, 63 * MIB, 64 * MIB + 1, 64 * 1024**4, 2**63, 2**64 - 1)


async def message_of(daemon: Daemon, member: str, signature: str, *body: Any) -> str:
    """Call a method that must answer InvalidArgument; return the message."""
    with pytest.raises(BusError) as caught:
        await daemon.ask(member, signature, *body)
    assert caught.value.name == "org.virtlayer1.Error.InvalidArgument", caught.value
    assert caught.value.text.isprintable()
    return caught.value.text


async def test_invalid_names_are_refused_by_every_call(bus: Bus, tmp_path: Path) -> None:
    async with virtlayerd(bus, tmp_path) as daemon:
        for name in INVALID_NAMES:
            pool_calls: list[tuple[str, str, list[Any]]] = [
                ("Pull", "ssa{sv}", [SOURCE, name, {}]),
                ("CreateVolume", "sssa{sv}", [name, "image", "volume", {}]),
                ("RemoveImage", "ssa{sv}", [name, "image", {}]),
                ("CreateDomain", "sssa{sv}", [name, "image", "machine", {}]),
                ("TagImage", "sssa{sv}", [name, "image", "other", {}]),
                ("RemoveVolume", "ssa{sv}", [name, "volume", {}]),
                ("ListVolumes", "s", [name]),
                ("DiskUsage", "s", [name]),
                ("Prune", "sa{sv}", [name, {}]),
                ("Rescan", "sa{sv}", [name, {}]),
                ("DescribeVolume", "ss", [name, "volume"]),
            ]
            if name:  # every pool
                pool_calls.append(("ListImages", "s", [name]))
            else:  # the default pool
                pool_calls.remove(("CreateDomain", "sssa{sv}", [name, "image", "machine", {}]))
            for call in pool_calls:
                assert "Invalid pool name" in await message_of(daemon, call[0], call[1], *call[2])
            volume = {"volume": Variant("s", name)}
            for member, signature, *body in (
                ("DescribeVolume", "ss", "default", name),
                ("RemoveVolume", "ssa{sv}", "default", name, {}),
                ("CreateVolume", "sssa{sv}", "default", "image", name, {}),
                ("Pull", "ssa{sv}", SOURCE, "default", volume),
                ("Pull", "ssa{sv}", SOURCE, "default", volume | {"format": Variant("s", "disk")}),
            ):
                assert "Invalid volume name" in await message_of(daemon, member, signature, *body)
            for member, signature, *body in (
                ("StartDomain", "sa{sv}", name, {}),
                ("StopDomain", "sa{sv}", name, {}),
                ("RemoveDomain", "sa{sv}", name, {}),
                ("DescribeDomain", "s", name),
            ):
                assert "Invalid domain name" in await message_of(daemon, member, signature, *body)
            if name:  # one from the image
                message = await message_of(
                    daemon, "CreateDomain", "sssa{sv}", "default", "image", name, {}
                )
                assert "Invalid domain name" in message
            if name == "a/b":
                continue
            for member, signature, *body in (
                ("RemoveImage", "ssa{sv}", "default", name, {}),
                ("TagImage", "sssa{sv}", "default", name, "other", {}),
                ("TagImage", "sssa{sv}", "default", "image", name, {}),
                ("CreateDomain", "sssa{sv}", "default", name, "machine", {}),
                ("CreateVolume", "sssa{sv}", "default", name, "volume", {}),
                ("Pull", "ssa{sv}", SOURCE, "default", {"name": Variant("s", name)}),
            ):
                assert "Invalid image name" in await message_of(daemon, member, signature, *body)
        assert await daemon.ask("ListJobs") == []
        daemon.process.terminate()
        _status, log = await daemon.wait()
        assert log == ""


async def test_a_slash_is_valid_in_the_name_of_an_image(bus: Bus, tmp_path: Path) -> None:
    async with virtlayerd(bus, tmp_path) as daemon:
        assert await daemon.ask("RemoveImage", "ssa{sv}", "default", "team/image:1", {})


@pytest.mark.parametrize("size", INVALID_SIZES)
async def test_impossible_sizes_are_refused_by_the_call(
    bus: Bus, tmp_path: Path, size: int
) -> None:
    async with virtlayerd(bus, tmp_path) as daemon:
        given, volume = Variant("t", size), {"volume": Variant("s", "v")}
        for option, member, signature, *body in (
            ("size", "Pull", "ssa{sv}", SOURCE, "default", {"size": given}),
            ("volume-size", "Pull", "ssa{sv}", SOURCE, "default", volume | {"volume-size": given}),
            ("volume-size", "Pull", "ssa{sv}", SOURCE, "default", {"volume-size": given}),
            ("size", "CreateVolume", "sssa{sv}", "default", "image", "v", {"size": given}),
            (
                *("volume-size", "CreateDomain", "sssa{sv}", "default", "image", "v"),
                {"volume-size": given},
            ),
        ):
            message = await message_of(daemon, member, signature, *body)
            assert message.startswith(f'Invalid option "{option}": ')
            assert "from 64 MiB to 63 TiB" in message
        assert await daemon.ask("ListJobs") == []


async def test_a_volume_smaller_than_its_image_is_refused_by_the_call(
    bus: Bus, tmp_path: Path
) -> None:
    options = {
        "size": Variant("t", 128 * MIB),
        "volume": Variant("s", "v"),
        "volume-size": Variant("t", 64 * MIB),
    }
    async with virtlayerd(bus, tmp_path) as daemon:
        message = await message_of(daemon, "Pull", "ssa{sv}", SOURCE, "default", options)
        assert "128 MiB" in message
        assert await daemon.ask("ListJobs") == []


WORDS = (
    "",
    "..",
    "\n",
    "x" * 300,
    "/" + "x" * 300,
    "/" + "x/" * 3000,
    "/a\nb",
    "\x1b[2J",
    "%s",
    "/dev",
)
SOURCES = ("oci:/" + "x" * 300, "dir:/" + "x/" * 3000, "oci-archive:/dev/full", "oci:/", "oci:/\n")


async def outcome(daemon: Daemon, member: str, signature: str, *body: Any) -> tuple[str, str]:
    """Call a method, and wait for the job if it starts one; return the error and its text."""
    try:
        answer = await daemon.ask(member, signature, *body)
    except BusError as error:
        return error.name, error.text
    _state, name, text, _result = await daemon.ask("Wait", path=answer[1], interface=JOB)
    return name, text


OPTIONS: dict[str, type[PullOptions | SourceOptions | CreateDomainOptions]] = {
    "Pull": PullOptions,
    "Inspect": SourceOptions,
    "CreateDomain": CreateDomainOptions,
}


def arguments(member: str, source: str) -> list[Any]:
    """The arguments of a call with a source, without the options."""
    match member:
        case "Pull":
            return [source, "default-pool"]
        case "CreateDomain":
            return ["default-pool", source, ""]
    return [source]


@pytest.mark.parametrize("member", OPTIONS)
async def test_no_text_of_a_caller_makes_a_defect(bus: Bus, tmp_path: Path, member: str) -> None:
    before_options = arguments(member, "docker://127.0.0.1:1/x")
    needed = {"username": "password"}
    if member == "Pull":
        needed |= {"hostname": "volume", "root-password": "volume"}
    calls: list[list[Any]] = [[*arguments(member, one), {}] for one in SOURCES]
    for field in dataclasses.fields(OPTIONS[member]):
        name = field.name.replace("_", "-")
        if field.metadata["signature"] == "s":
            other = {needed[name]: Variant("s", "x")} if name in needed else {}
            calls += [[*before_options, {name: Variant("s", w)} | other] for w in WORDS]
    signature = f"{'s' * len(before_options)}a{{sv}}"
    async with virtlayerd(bus, tmp_path) as daemon:
        for body in calls:
            error, text = await outcome(daemon, member, signature, *body)
            assert error.rpartition(".")[2] not in {"", "Internal"}, (body, text)
            assert text.isprintable(), body
        daemon.process.terminate()
        _status, log = await daemon.wait()
    assert "Traceback" not in log
    assert all(line.startswith(("INFO: ", "WARNING: ")) for line in log.splitlines())
