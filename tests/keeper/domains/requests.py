# SPDX-License-Identifier: LGPL-2.1-or-later
"""Requests for domains, and the volumes that these need."""

import contextlib
import hashlib
import itertools
import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.keeper.conftest import TestPool
from tests.keeper.requests import claim_of, directory_of, qcow2
from tests.support.libvirt_host import LibvirtHost
from tests.support.raw_keeper import RawKeeper, Reply
from virtlayer.service.keeper.sealed import sealed_content

_numbers = itertools.count(1)
USER_NETWORK = {"kind": "user", "name": "", "ports": []}


def any_uuid() -> str:
    """A new UUID."""
    return str(uuid.uuid4())


@contextlib.contextmanager
def contents(*texts: bytes) -> Iterator[list[int]]:
    """Sealed memory files."""
    with contextlib.ExitStack() as stack:
        descriptors = []
        for text in texts:
            descriptors.append(sealed_content(text))
            stack.callback(os.close, descriptors[-1])
        yield descriptors


@dataclass(frozen=True, slots=True)
class Machines:
    """Makes domains by raw requests.

    Attributes:
        host: The libvirtd.
        keeper: The keeper.
        pool: The pool of the volumes.
    """

    host: LibvirtHost
    keeper: RawKeeper
    pool: TestPool

    def volume(self, name: str = "", content: bytes = qcow2(), purpose: str = "volume") -> str:
        """Place a volume as the service does; return its name."""
        name = name or f"volume-{next(_numbers)}.qcow2"
        claim = claim_of(self.keeper, self.pool)
        staging = self.keeper.get("stage", pool=self.pool.uuid, claim=claim, purpose=purpose)
        directory = directory_of(self.pool)
        file = "disk" if purpose == "boot" else "v1"
        with (directory / file).open("wb") as staged:
            staged.write(content)
        if purpose != "boot":
            os.chown(directory / file, directory.stat().st_uid, -1)
        number = staging["staging"]
        self.keeper.get("flush", staging=number, file=file)
        self.keeper.get("place", staging=number, file=file, name=name, build=None)
        self.keeper.get("release", number=claim, failed=False)
        return name

    def boot_volumes(
        self, kernel: bytes = b"a kernel", initrd: bytes = b"an initrd"
    ) -> dict[str, str]:
        """Place a kernel and an initrd; the fields of a request that name them."""
        found = {}
        for kind, content in (("kernel", kernel), ("initrd", initrd)):
            name = f"{kind}-{hashlib.sha256(content).hexdigest()}"
            found[kind] = self.volume(name, content, "boot")
        return found

    def disk(self) -> str:
        """Place an empty disk that QEMU can open."""
        path = self.host.directory / "disk.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "64M"], check=True)
        content = path.read_bytes()
        path.unlink()
        return self.volume(content=content)

    def request(self, **fields: Any) -> dict[str, Any]:
        """A request for a machine with a user network, which boots its disk."""
        return {
            "step": "check",
            "claim": None,
            "name": f"machine-{next(_numbers)}",
            "uuid": any_uuid(),
            "pool": self.pool.uuid,
            "type": "qemu",
            "memory": 64 << 20,
            "processors": 1,
            "network": USER_NETWORK,
            "boot": "disk",
            "kernel": None,
            "initrd": None,
            "disk": None,
            "disk_format": "qcow2",
            "has_config": False,
            "has_seed": False,
            "has_streams": False,
            "id_map": None,
            "autostart": False,
            "ephemeral": False,
            "image": "debian:13",
            "digest": f"sha256:{'0' * 64}",
            "os_id": "",
            **fields,
        }

    def check(self, **fields: Any) -> Reply:
        """Ask for the checks only."""
        return self.keeper.ask("define-domain", **self.request(**fields))

    def define(self, *files: bytes, **fields: Any) -> Reply:
        """Ask for a domain, with the contents of its files."""
        claim = claim_of(self.keeper, self.pool)
        request = self.request(**{"step": "define", "claim": claim, **fields})
        with contents(*files) as descriptors:
            return self.keeper.ask("define-domain", descriptors, **request)

    def made(self, *files: bytes, **fields: Any) -> str:
        """Define a domain; return its UUID."""
        own = fields.pop("uuid", any_uuid())
        fields.setdefault("disk", self.disk())
        reply = self.define(*files, uuid=own, **fields)
        assert reply.error == "", reply
        return str(own)

    def list(self, name: str | None = None, since: int | None = None) -> list[dict[str, Any]]:
        """The domains of ours."""
        found: list[dict[str, Any]] = self.keeper.get("list-domains", since=since, name=name)[
            "domains"
        ]
        return found

    def control(self, own: str, action: str) -> Reply:
        """Ask for an action on a domain."""
        return self.keeper.ask("control-domain", uuid=own, pool=self.pool.uuid, action=action)

    def state(self, own: str, action: str) -> Any:
        """Do something to a domain; return its state."""
        reply = self.control(own, action)
        assert reply.error == "", reply
        return reply.done["state"]

    @property
    def own_files(self) -> set[str]:
        """The configurations and seeds in the pool."""
        return {path.name for path in self.pool.path.glob("*-*-*-*-*-*")} - {""}

    @property
    def notes(self) -> set[str]:
        """The domains that the pool has notes about."""
        notes: Path = self.pool.path / ".virtlayer" / "domains"
        return {path.name for path in notes.iterdir()} if notes.exists() else set()


def state_after(machines: Machines, *, since: int, name: str, state: str) -> int:
    """Wait by long polls until a machine has a state; the generation then."""
    while True:
        done = machines.keeper.get("list-domains", since=since, name=None)
        since = done["generation"]
        if {"name": name, "state": state}.items() <= done["domains"][0].items():
            return since
