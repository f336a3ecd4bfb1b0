# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real Ceph cluster on loopback: one monitor and one OSD, with cephx, without a manager.

::

    with OneNodeCeph() as ceph:
        pool = ceph.pool()                       # a pool, its user and the user's key
        pool.define_in(host, "images")           # as a pool of a LibvirtHost, with its secret
        assert ceph.rbd("ls", pool.name) == ""

A start takes about 8 s, a pool 2 s. The OSD's store survives a kill. Without a manager, Ceph does
not tell how much space there is. With ``OneNodeCeph(link=link)``, all clients reach it over a
``SlowLink``.
"""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.free_ports import free_port
from tests.support.leftovers import shared_by_tests
from tests.support.libvirt_host import LibvirtHost, warn_of
from tests.support.slow_link import SlowLink
from tests.support.waiting import stop

_PATIENCE = 120.0
"""Seconds after which a cluster that does not become ready fails the test."""
_STORE_SIZE = 20 * 1024**3
"""Bytes of the OSD's store, a sparse file."""

_FAR = "127.0.0.2"
"""The address of a cluster behind a link: the maps tell it, with the ports of 127.0.0.1."""

# Debian's default of "osd class dir" is relative and wrong. The short intervals make a start and
# each change of the maps faster; the benchmark of a new OSD takes seconds.
_CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v2:{address}:{v2},v1:{address}:{v1}]
mon initial members = a
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
public addr = {address}
run dir = {directory}
admin socket = {directory}/$name.asok
log file = {directory}/$name.log
crash dir = {directory}
mon data = {directory}/mon
osd data = {directory}/osd
osd class dir = /usr/lib/x86_64-linux-gnu/rados-classes
osd pool default size = 1
osd pool default min size = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd objectstore = bluestore
osd memory target = 939524096
osd mclock skip benchmark = true
osd boot notify interval = 1
bluestore block size = {store_size}
bluestore fsync on mkfs = false
mon allow pool size one = true
mon allow pool delete = true
mon data avail warn = 1
mon data avail crit = 0
paxos propose interval = 0.02
paxos min wait = 0.01
[client]
keyring = {directory}/admin.keyring
"""

# Monitor and OSD announce the address of the link, and listen on another one.
_BEHIND_LINK = """\
[mon]
public bind addr = v2:127.0.0.1:{v2}
[osd]
public bind addr = 127.0.0.1
"""

_POOL = """\
<pool type='rbd'>
  <name>{libvirt_name}</name>
  <source>
    <host name='{address}' port='{port}'/>
    <name>{name}</name>
    <auth type='ceph' username='{user}'><secret uuid='{secret}'/></auth>
  </source>
</pool>
"""

_SECRET = """\
<secret ephemeral='no' private='{private}'>
  <uuid>{uuid}</uuid>
  <usage type='ceph'><name>client.{user} {uuid}</name></usage>
</secret>
"""


@dataclass(frozen=True, slots=True)
class CephPool:
    """A pool of the cluster, and a user who may use it.

    Attributes:
        name: Its name.
        user: The cephx user, without ``client.``.
        key: The user's key, in base64.
        port: The monitor's port.
        address: The monitor's address.
    """

    name: str
    user: str
    key: str
    port: int
    address: str = "127.0.0.1"

    def pool_xml(self, libvirt_name: str, secret: str) -> str:
        """The description of the pool for libvirt, by its name there and the secret's UUID."""
        return _POOL.format(
            libvirt_name=libvirt_name,
            name=self.name,
            user=self.user,
            address=self.address,
            port=self.port,
            secret=secret,
        )

    def secret_xml(self, identifier: str, *, private: bool = False) -> str:
        """The description of the user's secret for libvirt, by its UUID."""
        return _SECRET.format(uuid=identifier, user=self.user, private="yes" if private else "no")

    def define_in(
        self, host: LibvirtHost, name: str, *, private: bool = False, start: bool = True
    ) -> str:
        """Define and start a pool of type rbd in a libvirtd.

        Args:
            host: The libvirtd.
            name: The name of libvirt's pool.
            private: Whether libvirt keeps the secret's value to itself.
            start: Whether the pool is started.

        Returns:
            The secret's UUID.
        """
        secret = self.define_secret(host, private=private)
        host.define_pool_xml(self.pool_xml(name, secret))
        if start:
            try:
                host.virsh("pool-start", name)
            except AssertionError as failure:
                abort = host.librbd_abort(wait=host.is_unreachable_in(failure))
                if abort is None:
                    raise
                # virtlayer does not take part in this.
                warn_of(abort)
                host.restart()
                host.virsh("pool-start", name)
        return secret

    def define_secret(
        self, host: LibvirtHost, *, private: bool = False, has_value: bool = True
    ) -> str:
        """Define the secret of the user in a libvirtd; return its UUID."""
        identifier = str(uuid.uuid4())
        description = host.directory / "secret.xml"
        description.write_text(self.secret_xml(identifier, private=private))
        host.virsh("secret-define", str(description))
        if has_value:
            value = host.directory / "secret.value"
            value.write_text(self.key)
            host.virsh("secret-set-value", identifier, "--file", str(value))
            value.unlink()
        return identifier


class OneNodeCeph:
    """``with OneNodeCeph() as ceph:`` — started on free ports; ends with the test's process.

    Args:
        link: What its clients reach it over; None for loopback itself.

    Attributes:
        directory: Everything of the cluster is below it.
        configuration: The ceph.conf of its administrator.
        fsid: The cluster's id.
        address: The address that monitor and OSD announce.
        port: The monitor's port there for clients: the one of messenger v2.
    """

    def __init__(self, *, link: SlowLink | None = None) -> None:
        # Admin sockets have a path of at most 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="vl-ceph-"))
        self.configuration = self.directory / "ceph.conf"
        self.fsid = str(uuid.uuid4())
        self.address = "127.0.0.1" if link is None else _FAR
        self.port, self._v1_port = free_port(), free_port()
        self._link = link
        self._osd_uuid = str(uuid.uuid4())
        self._monitor: subprocess.Popen[bytes] | None = None
        self._osd: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        try:
            self._make_monitor()
            # Also for the OSD: it finds the monitor by the address that this announces.
            self._reach(self.port, self._v1_port)
            self._make_osd()
            self._start_osd()
            self._reach(*self._osd_ports)
            # So that a clone needs no protected snapshot.
            self.ceph("osd", "set-require-min-compat-client", "mimic", "--yes-i-really-mean-it")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the cluster and remove its files."""
        for process in (self._osd, self._monitor):
            if process is not None:
                process.kill()
                process.wait()
        shutil.rmtree(self.directory)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the cluster's administrator."""
        return {**os.environ, "CEPH_CONF": str(self.configuration)}

    def ceph(self, *arguments: str, given: str | None = None) -> str:
        """Run ceph(8) as the administrator; return its output."""
        return self._run("ceph", "--connect-timeout", "60", *arguments, given=given)

    def rbd(self, *arguments: str) -> str:
        """Run rbd(8) as the administrator; return its output."""
        return self._run("rbd", *arguments)

    def rados(self, *arguments: str) -> str:
        """Run rados(8) as the administrator; return its output."""
        return self._run("rados", *arguments)

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports that clients of the cluster connect to."""
        return (self.port, self._v1_port, *self._osd_ports)

    def images(self, pool: str) -> list[str]:
        """The names of all images of a pool, sorted."""
        return sorted(self.rbd("ls", pool).splitlines())

    def pool(self) -> CephPool:
        """Make a pool with a user of its own."""
        name = f"pool{next(self._numbers)}"
        self.ceph("osd", "pool", "create", name, "8")
        self.ceph("osd", "pool", "application", "enable", name, "rbd")
        return self.user(name, name, osd=f"profile rbd pool={name}")

    def user(self, name: str, pool: str, *, osd: str, mon: str = "profile rbd") -> CephPool:
        """Make a user.

        Args:
            name: The user's name, without ``client.``.
            pool: The pool that the result names.
            osd: What the user may ask of OSDs, such as "profile rbd-read-only"; "" for nothing.
            mon: What the user may ask of the monitor.
        """
        caps = ["mon", mon, *(["osd", osd] if osd else [])]
        made = self.ceph("auth", "get-or-create", f"client.{name}", *caps, "--format", "json")
        return CephPool(pool, name, json.loads(made)[0]["key"], self.port, self.address)

    def another_key(self) -> str:
        """A valid key that no user has."""
        return self._run("ceph-authtool", "--gen-print-key").strip()

    @contextlib.contextmanager
    def watched(self, image: str) -> Iterator[None]:
        """Let a client watch an image within the context, as QEMU does.

        Args:
            image: POOL/IMAGE.
        """
        client = subprocess.Popen(
            ["rbd", "watch", image],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + _PATIENCE
            while "watcher=" not in self.rbd("status", image):
                assert time.monotonic() < deadline, f"{image} has no watcher"
                time.sleep(0.1)
            yield
        finally:
            # It ends when its input ends.
            client.communicate()

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Let the OSD answer nothing within the context."""
        assert self._osd is not None, "the OSD does not run"
        stop(self._osd.pid)
        try:
            yield
        finally:
            self._osd.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def osd_killed(self) -> Iterator[None]:
        """Kill the OSD, as a power failure would, and start it again after the context."""
        assert self._osd is not None, "the OSD does not run"
        self._osd.kill()
        self._osd.wait()
        self.ceph("osd", "down", "0")
        try:
            yield
        finally:
            self._start_osd()

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Let the cluster be full within the context: it reports no error, and writes wait."""
        self._set_full(0.0001)
        try:
            self._wait_for_full(expected=True)
            yield
        finally:
            self._set_full(0.95)
            self._wait_for_full(expected=False)

    @property
    def _osd_ports(self) -> list[int]:
        [osd] = json.loads(self.ceph("osd", "dump", "--format", "json"))["osds"]
        addresses = (one["addr"] for one in osd["public_addrs"]["addrvec"])
        return [int(address.rpartition(":")[2]) for address in addresses]

    def _reach(self, *ports: int) -> None:
        """Let clients reach ports of 127.0.0.1 at the address that is announced."""
        if self._link is not None:
            for port in ports:
                self._link.forward("127.0.0.1", port, near=self.address, near_port=port)

    def _set_full(self, ratio: float) -> None:
        # A smaller ratio must not be above a larger one.
        names = ("nearfull", "backfillfull", "full")
        for offset, name in enumerate(names if ratio < 0.5 else reversed(names)):
            share = ratio * (1 + offset / 10) if ratio < 0.5 else ratio - offset / 20
            self.ceph("osd", f"set-{name}-ratio", f"{share:.6f}")

    def _wait_for_full(self, *, expected: bool) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            state = json.loads(self.ceph("osd", "dump", "--format", "json"))
            if ("full" in state["osds"][0]["state"]) == expected:
                return
            assert time.monotonic() < deadline, f"full is not {expected}: {state['osds']}"
            time.sleep(0.2)

    def _make_monitor(self) -> None:
        directory = self.directory
        text = _CONFIGURATION if self._link is None else _CONFIGURATION + _BEHIND_LINK
        self.configuration.write_text(
            text.format(
                fsid=self.fsid,
                directory=directory,
                address=self.address,
                v1=self._v1_port,
                v2=self.port,
                store_size=_STORE_SIZE,
            )
        )
        everything = ("--cap", "mon", "allow *", "--cap", "osd", "allow *")
        keys, admin, initial = "ceph-authtool", str(directory / "admin.keyring"), "mon.keyring"
        self._run(keys, "--create-keyring", admin, "--gen-key", "-n", "client.admin", *everything)
        self._run(keys, "-C", initial, "--gen-key", "-n", "mon.", *everything)
        self._run(keys, initial, "--import-keyring", admin)
        addresses = f"[v2:{self.address}:{self.port},v1:{self.address}:{self._v1_port}]"
        self._run(
            *("monmaptool", "--create", "--addv", "a", addresses),
            *("--fsid", self.fsid, "monmap"),
        )
        made = ("--mkfs", "--monmap", "monmap", "--keyring", initial)
        self._run("ceph-mon", "-i", "a", *made)
        self._monitor = self._start("ceph-mon", "-i", "a", "-f")

    def _make_osd(self) -> None:
        key = self.another_key()
        self.ceph("osd", "new", self._osd_uuid, "-i", "-", given=json.dumps({"cephx_secret": key}))
        osd = self.directory / "osd"
        osd.mkdir()
        (osd / "keyring").write_text(f"[osd.0]\n\tkey = {key}\n")
        made = ("--mkfs", "--no-mon-config", "--osd-uuid", self._osd_uuid)
        self._run("ceph-osd", "-i", "0", *made)

    def _start_osd(self) -> None:
        with shared_by_tests():
            self._osd = self._start("ceph-osd", "-i", "0", "-f")
        self._wait("num_up_osds", 1)

    def _wait(self, what: str, number: int) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            state = json.loads(self.ceph("osd", "stat", "--format", "json"))
            if state[what] == number:
                return
            assert time.monotonic() < deadline, f"{what} is {state[what]}, not {number}"
            time.sleep(0.1)

    def _start(self, *argv: str) -> subprocess.Popen[bytes]:
        with (self.directory / "output.log").open("ab") as output:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *argv],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def _run(self, *argv: str, given: str | None = None) -> str:
        done = subprocess.run(
            argv,
            cwd=self.directory,
            env=self.environment,
            input=given or "",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
        return done.stdout
