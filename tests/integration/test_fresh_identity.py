# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines of one image get identities of their own: the command, with everything real."""

import itertools
import json
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_command import watched_processes
from tests.support.command import Ended, virtlayer
from tests.support.images import Content, file, image, layer
from tests.support.libvirt_host import LibvirtHost
from tests.support.privileges import call_as_root
from tests.support.registry import Registry
from tests.support.trees import mounted
from tests.support.virtlayerd import Daemon
from tests.support.volumes import assert_sound

_ID = "0123456789abcdef0123456789abcdef\n"
_KEY = "etc/ssh/ssh_host_ed25519_key"
_OLD_KEY = "etc/ssh/ssh_host_rsa_key"
_CUSTOMIZERS = b"virtlayer.worker.customize"

_numbers = itertools.count()


def _with_identity() -> Content:
    return image(
        [
            layer(file("etc/machine-id", _ID.encode()), file(_OLD_KEY, b"old", mode=0o600)),
            layer(file("above", b"")),
        ]
    )


def _without_identity() -> Content:
    return image([layer(file("etc/machine-id", b"")), layer(file("plain", b""))])


@dataclass(frozen=True)
class Place:
    """A pool, and the command that works on it."""

    daemon: Daemon
    pool: str
    directory: Path
    sources: dict[str, str]

    async def run(self, *arguments: str) -> Ended:
        return await virtlayer("--user", *arguments, env=self.daemon.environment)

    async def pull(self, name: str, *options: str) -> dict[str, Any]:
        source = self.sources[name]
        ended = await self.run("pull", source, self.pool, "--tls-verify=false", "--json", *options)
        assert ended.status == 0, ended.stderr + self.daemon.log
        result = json.loads(ended.stdout)
        assert isinstance(result, dict)
        return result

    async def create(self, image_name: str, volume: str, *options: str) -> Path:
        ended = await self.run("create-volume", f"{image_name}:1", volume, self.pool, *options)
        assert ended.status == 0, ended.stderr + self.daemon.log
        return self.directory / volume

    async def starts_customizer(self, image_name: str, volume: str, *options: str) -> bool:
        """Create a volume; return whether a worker was started for it."""
        # Not those of the machine: another test may customize something.
        async with watched_processes(lambda: self.daemon.programs) as seen:
            await self.create(image_name, volume, *options)
        return any(_CUSTOMIZERS in one for one in seen)

    @property
    def layer_records(self) -> dict[Path, dict[str, Any]]:
        """The records of the layers, by their files."""
        records = {
            path: json.loads(path.read_text())
            for path in (self.directory / ".virtlayer").glob("*.json")
        }
        return {path: record for path, record in records.items() if record["kind"] == "layer"}

    def facts(self, top: str) -> list[object]:
        """What the record of a layer says about its identity."""
        return [
            record["identity"] for record in self.layer_records.values() if record["name"] == top
        ]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with Registry(tmp_path_factory.mktemp("registry")) as registry:
        yield {
            "shared": registry.store(_with_identity(), "shared:1"),
            "plain": registry.store(_without_identity(), "plain:1"),
        }


@pytest.fixture
async def place(daemon: Daemon, host: LibvirtHost, sources: dict[str, str]) -> AsyncIterator[Place]:
    """A new pool, which other users cannot enter: directories with setuid programs may be in it."""
    pool = f"identities-{next(_numbers)}"
    host.start_pool(pool)
    directory = host.pool_directory(pool)
    directory.chmod(0o700)
    yield Place(daemon, pool, directory, sources)
    host.stop_pool(pool)


def identity_of(volume: Path) -> dict[str, str]:
    """The contents of the files of an identity in a volume, by their paths."""
    return call_as_root(_identity_as_root, volume)


def _identity_as_root(volume: Path) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="volume-") as directory:
        raw = Path(directory) / "raw"
        subprocess.run(["qemu-img", "convert", "-O", "raw", volume, raw], check=True)
        assert_sound(raw)
        with mounted(raw, Path(directory) / "mnt") as root:
            return _identity_in(root)


def _identity_in(root: Path) -> dict[str, str]:
    files = [root / "etc/machine-id", *(root / "etc/ssh").glob("*")]
    return {str(path.relative_to(root)): path.read_text() for path in files if path.is_file()}


async def test_machines_of_an_image_have_different_identities(place: Place) -> None:
    pulled = await place.pull("shared")
    assert place.facts(pulled["volumes"][-1]) == [True]
    one, two = [identity_of(await place.create("shared", name)) for name in ("one", "two.qcow2")]
    kept = identity_of(await place.create("shared", "kept", "--keep-identity", "--hostname=kept"))
    assert kept == {"etc/machine-id": _ID, _OLD_KEY: "old"}
    for found in (one, two):
        assert found["etc/machine-id"] == ""
        assert _OLD_KEY not in found
    assert one[_KEY] != two[_KEY]


async def test_private_keys_appear_in_no_process_log_or_file(place: Place) -> None:
    await place.pull("shared")
    async with watched_processes() as seen:
        volume = await place.create("shared", "secret")
    found = identity_of(volume)
    private = [
        text.splitlines()[-2].encode() for path, text in found.items() if path.endswith("key")
    ]
    assert len(private) == 2
    for secret in private:
        assert not any(secret in one for one in seen)
        assert secret.decode() not in place.daemon.log
        for path in [*place.daemon.directory.rglob("*"), *place.directory.rglob("*")]:
            if path.is_file() and path != volume:
                assert secret not in path.read_bytes(), path


async def test_volume_on_an_image_without_identity_needs_no_worker(place: Place) -> None:
    pulled = await place.pull("plain")
    assert place.facts(pulled["volumes"][-1]) == [False]
    assert not await place.starts_customizer("plain", "first")
    assert await place.starts_customizer("plain", "named", "--hostname=named")


async def test_identity_of_an_older_image_is_looked_for_once(place: Place) -> None:
    tops = {name: (await place.pull(name))["volumes"][-1] for name in ("plain", "shared")}
    for path, record in place.layer_records.items():
        # As an earlier virtlayer has written it. Another host replaces a file, too.
        del record["identity"]
        new = path.with_name(".new-older")
        new.write_text(json.dumps(record))
        new.rename(path)
    assert await place.starts_customizer("plain", "p1")
    assert place.facts(tops["plain"]) == [False]
    assert not await place.starts_customizer("plain", "p2")
    assert identity_of(await place.create("shared", "s1"))["etc/machine-id"] == ""
    assert place.facts(tops["shared"]) == [True]
    assert await place.starts_customizer("shared", "s2")
    assert identity_of(place.directory / "s2")["etc/machine-id"] == ""


async def test_unknown_identity_stays_unknown_if_it_is_kept(place: Place) -> None:
    top = (await place.pull("shared"))["volumes"][-1]
    for path, record in place.layer_records.items():
        new = path.with_name(".new-older")
        new.write_text(json.dumps({**record, "identity": None}))
        new.rename(path)
    assert not await place.starts_customizer("shared", "kept", "--keep-identity")
    assert place.facts(top) == [None]


@pytest.mark.parametrize("keep", [False, True])
async def test_pull_makes_a_volume_or_directory_with_an_identity_of_its_own(
    place: Place, *, keep: bool
) -> None:
    options = ["--keep-identity"] if keep else []
    await place.pull("shared", "--volume=web", *options)
    await place.pull("shared", "--format=dir", "--volume=root", *options)
    found = [
        identity_of(place.directory / "web"),
        call_as_root(_identity_in, place.directory / "root"),
    ]
    for identity in found:
        assert (identity["etc/machine-id"] == _ID) is keep
        assert (_OLD_KEY in identity) is keep
        assert (_KEY in identity) is not keep


async def test_keep_identity_without_a_volume_is_refused(place: Place) -> None:
    for options, text in (
        ([], "--keep-identity requires --volume"),
        (["--format=disk", "--volume=disk"], "the disk image is not changed"),
    ):
        source = place.sources["plain"]
        ended = await place.run(
            *("pull", source, place.pool, "--tls-verify=false", "--keep-identity", *options)
        )
        assert (ended.status, text in ended.stderr) == (2, True), ended.stderr


async def test_damaged_record_of_a_layer_does_not_stop_a_volume(place: Place) -> None:
    await place.pull("plain")
    for path in place.layer_records:
        path.write_text("{}")
    assert await place.starts_customizer("plain", "looked-again")
