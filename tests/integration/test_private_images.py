# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images that only some callers may have, on a system bus, with everything real.

These tests are root: they make connections of other users.
"""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from dbus_next.signature import Variant

from tests.bus.daemon import virtlayerd
from tests.bus.polkit import open_directory, polkitd
from tests.bus.users import User, user
from tests.support.bus_daemon import Bus, system_bus
from tests.support.images import Content, file, image, layer
from tests.support.job_watch import plain
from tests.support.libvirt_host import LibvirtHost
from tests.support.registry import Registry

pytestmark = pytest.mark.root
_numbers = itertools.count(1)
ALLOW = (
    "polkit.addRule(function (action) {"
    'if (action.id.indexOf("org.virtlayer1.") == 0) return polkit.Result.YES;'
    "});\n"
)
LOGIN = ("alice", "swordfish")
OPTIONS = {"username": Variant("s", LOGIN[0]), "password": Variant("s", LOGIN[1])}
CAS = "/etc/ssl/certs/ca-certificates.crt"
WITH_CAS = f'mount --bind "$1" {CAS} && shift && exec "$@"'
"""Runs a program that takes other CAs for those of this host."""
JOB = "org.virtlayer1.Job"
BASE = layer(file("secret", os.urandom(300_000)))
SECRET = image([BASE], config={"config": {"Env": ["TOKEN=hunter2"]}})


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that asks for a login."""
    with Registry(tmp_path_factory.mktemp("private"), tls=True, htpasswd=LOGIN) as running:
        yield running


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """The registry of a caller who knows the digests of a private image."""
    with Registry(tmp_path_factory.mktemp("own"), tls=True) as running:
        yield running


@pytest.fixture
def bus() -> Iterator[Bus]:
    with (
        open_directory() as directory,
        system_bus(directory, others=["org.freedesktop.PolicyKit1.conf"]) as running,
    ):
        yield running


class Caller:
    """A user who pulls into the pool of the test."""

    def __init__(self, connection: User, pool: str) -> None:
        self._connection = connection
        self._pool = pool

    async def pull(self, source: str, **options: Variant) -> dict[str, Any]:
        """Pull an image; return the properties of the job when that has ended."""
        named = {name.replace("_", "-"): value for name, value in options.items()}
        _, path = await self._connection.ask("Pull", "ssa{sv}", source, self._pool, named)
        while True:
            [job] = [
                await self._connection.ask(
                    "GetAll", "s", JOB, path=path, interface="org.freedesktop.DBus.Properties"
                )
            ]
            if job["FinishedAt"].value:
                return {name: plain(value) for name, value in job.items()}
            await asyncio.sleep(0.02)

    async def counts(self, source: str, **options: Variant) -> tuple[int, int, int]:
        """Pull an image; return how many layers were built and reused, and bytes downloaded."""
        job = await self.pull(source, **options)
        assert job["State"] == "done", job["Message"]
        names = ("layers-built", "layers-reused", "bytes-downloaded")
        built, reused, downloaded = (job["Result"][name] for name in names)
        assert job["BytesDone"] == job["BytesTotal"]
        return built, reused, downloaded

    async def refused(self, source: str, **options: Variant) -> str:
        """Pull an image that cannot be pulled; return the message."""
        job = await self.pull(source, **options)
        assert (job["State"], job["Result"]) == ("failed", {}), job
        return str(job["Message"])


@pytest.fixture
async def callers(
    bus: Bus, host: LibvirtHost, private: Registry, own: Registry, tmp_path: Path
) -> AsyncIterator[tuple[Caller, Caller]]:
    """Two users of a system service that trusts the CAs of both registries."""
    cas = tmp_path / "cas.crt"
    cas.write_text("".join((one.cert_dir / "ca.crt").read_text() for one in (private, own)))
    pool = f"private-{next(_numbers)}"
    host.start_pool(pool)
    wrapper = ("unshare", "--mount", "sh", "-c", WITH_CAS, "sh", cas)
    settings = "[storage]\nvirtual-size = 67108864\n"
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(polkitd(bus, ALLOW))
        await stack.enter_async_context(
            virtlayerd(bus, tmp_path, "--connect", host.uri, settings=settings, wrapper=wrapper)
        )
        alice, mallory = [
            await stack.enter_async_context(user(bus, name)) for name in ("nobody", "games")
        ]
        yield Caller(alice, pool), Caller(mallory, pool)
    host.stop_pool(pool)


def size_of(content: Content) -> int:
    return sum(len(content.blobs[digest]) for digest in content.layer_digests)


async def test_digests_of_a_private_image_do_not_give_access(
    callers: tuple[Caller, Caller], private: Registry, own: Registry
) -> None:
    alice, mallory = callers
    source = private.store(SECRET, "team/secret:1")
    size = size_of(SECRET)
    assert await alice.counts(source, **OPTIONS) == (1, 0, size)
    await mallory.refused(source)

    # His own registry names the layer, which he does not have.
    copy = own.store(image([BASE], config={"config": {"Env": ["MINE=1"]}}), "copy:1")
    own.lose(BASE.digest)
    for options in ({}, OPTIONS, {"cache": Variant("b", False)}, {"format": Variant("s", "disk")}):
        assert BASE.digest in await mallory.refused(copy, **options)
    # Or it names the config, which has a secret, too.
    config = own.store(SECRET, "config:1")
    own.lose(SECRET.config_digest)
    assert f"config {SECRET.config_digest}" in await mallory.refused(config)
    # Or it has something else in the place of the layer.
    own.blob_path(BASE.digest).write_bytes(bytes(size))
    await mallory.refused(copy)

    assert await alice.counts(source, **OPTIONS) == (0, 1, 0)


async def test_private_content_is_downloaded_once_more_for_another_repository(
    callers: tuple[Caller, Caller], private: Registry
) -> None:
    alice, mallory = callers
    team = private.store(SECRET, "team/secret:1")
    other = private.store(SECRET, "other/copy:1")
    size = size_of(SECRET)
    assert await alice.counts(team, **OPTIONS) == (1, 0, size)
    # The registry checks this caller, too.
    assert await mallory.counts(team, **OPTIONS) == (0, 1, 0)
    assert await mallory.counts(other, **OPTIONS) == (0, 1, size)
    assert await alice.counts(other, **OPTIONS) == (0, 1, 0)


async def test_layer_on_a_private_base_is_all_that_is_built(
    callers: tuple[Caller, Caller], private: Registry
) -> None:
    alice, _ = callers
    top = layer(file("top", b"1"))
    await alice.counts(private.store(SECRET, "team/secret:1"), **OPTIONS)
    extended = image([BASE, top])
    source = private.store(extended, "other/extended:1")
    assert await alice.counts(source, **OPTIONS) == (1, 1, size_of(extended))


async def test_private_content_counts_only_where_tls_was_verified(
    callers: tuple[Caller, Caller], private: Registry
) -> None:
    alice, mallory = callers
    source = private.store(SECRET, "team/secret:1")
    unverified = {**OPTIONS, "tls_verify": Variant("b", False)}
    size = size_of(SECRET)
    assert await mallory.counts(source, **unverified) == (1, 0, size)
    assert await mallory.counts(source, **unverified) == (0, 1, size)
    assert await alice.counts(source, **OPTIONS) == (0, 1, size)
    assert await alice.counts(source, **OPTIONS) == (0, 1, 0)
    assert await mallory.counts(source, **unverified) == (0, 1, size)


async def test_content_that_was_once_public_is_shared(
    callers: tuple[Caller, Caller], private: Registry, own: Registry
) -> None:
    alice, mallory = callers
    source = private.store(SECRET, "team/secret:1")
    public = own.store(SECRET, "public:1")
    size = size_of(SECRET)
    assert await alice.counts(source, **OPTIONS) == (1, 0, size)
    assert await mallory.counts(public) == (0, 1, size)
    own.lose(BASE.digest, SECRET.config_digest)
    assert await mallory.counts(public) == (0, 1, 0)
    assert await alice.counts(public, tls_verify=Variant("b", False)) == (0, 1, 0)
