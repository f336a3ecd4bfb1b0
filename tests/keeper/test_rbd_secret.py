# SPDX-License-Identifier: LGPL-2.1-or-later
"""The key of an RBD pool in a secret of a real libvirtd: what is wrong with it, and what to do."""

import base64
import shlex
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from tests.support.libvirt_host import LibvirtHost
from virtlayer.errors import PoolUnavailable, PoolUnsupported
from virtlayer.keeper.connection import Hypervisor
from virtlayer.keeper.kinds.rbd.secret import secret_value
from virtlayer.keeper.kinds.rbd.source import SecretReference

_UUID = "6f6d7f4e-5d7a-4b7a-9e2c-3c5a0f3d9b01"
_KEY = b"\x01\x00 a key \xff"
_USAGE = "client.libvirt secret"


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets of a libvirtd."""

    host: LibvirtHost

    def define(self, *, private: str = "no", usage: str = "ceph") -> None:
        """Define the secret."""
        name = "name" if usage == "ceph" else "target"
        path = self.host.directory / "secret.xml"
        path.write_text(
            f"<secret ephemeral='no' private='{private}'><uuid>{_UUID}</uuid>"
            f"<usage type='{usage}'><{name}>{_USAGE}</{name}></usage></secret>"
        )
        self.host.virsh("secret-define", str(path))

    def set_value(self) -> None:
        """Give it the key."""
        path = self.host.directory / "key"
        path.write_bytes(base64.b64encode(_KEY))
        self.host.virsh("secret-set-value", _UUID, "--file", str(path))


@pytest.fixture
def secrets(host: LibvirtHost) -> Iterator[Secrets]:
    yield Secrets(host)
    if _UUID in host.virsh("secret-list"):
        host.virsh("secret-undefine", _UUID)


@pytest.fixture
async def hypervisor(host: LibvirtHost) -> AsyncIterator[Hypervisor]:
    async with Hypervisor(host.uri) as hypervisor:
        yield hypervisor


@pytest.mark.parametrize("reference", [SecretReference(_UUID, ""), SecretReference("", _USAGE)])
async def test_key_is_found_by_uuid_and_by_usage(
    secrets: Secrets, hypervisor: Hypervisor, reference: SecretReference
) -> None:
    secrets.define()
    secrets.set_value()
    assert await secret_value(hypervisor, "vms", reference) == _KEY


async def test_private_secret_is_refused_with_commands_that_help(
    secrets: Secrets, hypervisor: Hypervisor
) -> None:
    secrets.define(private="yes")
    secrets.set_value()
    with pytest.raises(PoolUnsupported, match=f'{_UUID} of the pool "vms" is private') as raised:
        await secret_value(hypervisor, "vms", SecretReference(_UUID, ""))
    host = secrets.host
    advised = raised.value.message.partition("define it again: ")[2]
    dump, *rest = advised.split("; ")
    secret = host.directory / "secret.xml"
    script = f"{dump} && sed -i s/yes/no/ secret.xml && {' && '.join(rest)}"
    (host.directory / "KEYFILE").write_bytes(base64.b64encode(_KEY))
    subprocess.run(["sh", "-c", script], check=True, cwd=host.directory, env=host.environment)
    assert secret.exists()
    assert await secret_value(hypervisor, "vms", SecretReference(_UUID, "")) == _KEY


@pytest.mark.parametrize("reference", [SecretReference(_UUID, ""), SecretReference("", _USAGE)])
async def test_missing_secret_is_reported(
    hypervisor: Hypervisor, reference: SecretReference
) -> None:
    with pytest.raises(PoolUnavailable, match=r'has no secret .*, which the pool "vms"') as raised:
        await secret_value(hypervisor, "vms", reference)
    name = reference.uuid or reference.usage
    assert name in raised.value.message
    assert f"virsh --connect '{hypervisor.uri}' secret-list" in raised.value.message


async def test_secret_without_a_value_is_reported(secrets: Secrets, hypervisor: Hypervisor) -> None:
    secrets.define()
    with pytest.raises(PoolUnavailable, match="has no value") as raised:
        await secret_value(hypervisor, "vms", SecretReference(_UUID, ""))
    command = raised.value.message.partition("which a file contains: ")[2]
    path = secrets.host.directory / "KEYFILE"
    path.write_bytes(base64.b64encode(_KEY))
    environment = secrets.host.environment
    subprocess.run(shlex.split(command), check=True, cwd=path.parent, env=environment)
    assert await secret_value(hypervisor, "vms", SecretReference(_UUID, "")) == _KEY


async def test_secret_for_something_else_is_refused(
    secrets: Secrets, hypervisor: Hypervisor
) -> None:
    secrets.define(usage="iscsi")
    with pytest.raises(PoolUnsupported, match=f"{_UUID}.* is not for Ceph.*pool-edit vms"):
        await secret_value(hypervisor, "vms", SecretReference(_UUID, ""))
