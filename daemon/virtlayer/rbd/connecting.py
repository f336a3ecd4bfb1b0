# SPDX-License-Identifier: LGPL-2.1-or-later
"""Connects to the cluster of a pool. The functions block, for less than a minute."""

import errno
from collections.abc import Mapping
from typing import Any

from virtlayer.errors import Internal, PoolUnavailable, PoolUnsupported, VirtlayerError
from virtlayer.protocol.rbd import Monitor, Open
from virtlayer.rbd.binding import rados
from virtlayer.rbd.failures import no_answer

OPERATION_SECONDS = 45
"""After which a request to the cluster fails; each operation of ours has one at a time."""
_CONNECT_SECONDS = 35
_FIRST_SECONDS = 5
"""For a first attempt, after which another one looks for the reason."""
_HOST_CHARACTERS = frozenset(".-_:[]%")

# No request waits for ever, and what this process says is said by itself.
_OPTIONS: Mapping[str, str] = {
    "rados_osd_op_timeout": str(OPERATION_SECONDS),
    "rados_mon_op_timeout": str(OPERATION_SECONDS),
    "err_to_stderr": "false",
    "log_to_stderr": "false",
    "log_file": "",
    "keyring": "",
    # It would tell the key, and a host's ceph.conf can have it.
    "admin_socket": "",
    "librados_thread_count": "1",
    "ms_async_op_threads": "1",
    "rbd_cache": "false",
    # A clone needs no protected snapshot, and the snapshot of a parent can always be removed.
    "rbd_default_clone_format": "2",
}


def connected(request: Open, key: str | None) -> Any:
    """Connect to a cluster.

    Args:
        request: The pool, its user and the monitors.
        key: The user's key, in base64; None if the cluster uses no cephx.

    Returns:
        The connection, of librados.

    Raises:
        PoolUnavailable: The cluster cannot be reached, or refuses the key.
    """
    hosts = [_address(one) for one in request.monitors]
    try:
        return _attempt(request, key, hosts, _FIRST_SECONDS)
    except rados.TimedOut:
        pass
    # A monitor with an unusual port is asked in both protocols. If it refuses the key in one, its
    # silence in the other one hides that.
    for protocol in ("v2", "v1") if hosts else ():
        try:
            return _attempt(request, key, [f"{protocol}:{one}" for one in hosts], _FIRST_SECONDS)
        except (rados.TimedOut, rados.InvalidArgumentError):
            continue
    try:
        return _attempt(request, key, hosts, _CONNECT_SECONDS)
    except rados.TimedOut as error:
        raise no_answer(request.pool) from error


def _options(request: Open, hosts: list[str]) -> dict[str, str]:
    """The settings of a client of the cluster, without its key."""
    none = {"auth_client_required": "none"} if request.user is None else {}
    monitors = {"mon_host": ",".join(hosts)} if hosts else {}
    return {**_OPTIONS, **none, **monitors}


def _attempt(request: Open, key: str | None, hosts: list[str], seconds: int) -> Any:
    secret = {} if key is None else {"key": key}
    connection = rados.Rados(
        rados_id=request.user or "admin",
        clustername="ceph",
        # Without monitors, the cluster is the one of the host's ceph.conf.
        **({} if hosts else {"conffile": ""}),
        conf={**_options(request, hosts), "client_mount_timeout": str(seconds), **secret},
    )
    try:
        connection.connect()
    except rados.TimedOut:
        connection.shutdown()
        raise
    except rados.Error as error:
        connection.shutdown()
        if error.errno == errno.EINVAL and hosts and hosts[0].startswith(("v1:", "v2:")):
            raise
        raise _refused(error, request) from error
    return connection


def _refused(error: Any, request: Open) -> VirtlayerError:
    where = f'the cluster of the pool "{request.pool}"'
    if error.errno in (errno.EACCES, errno.EPERM):
        if request.user is None:
            return PoolUnsupported(
                f"Cannot connect to {where}, because it requires a user and a key. Give the pool's "
                "definition in libvirt an <auth> element."
            )
        return PoolUnavailable(
            f'Cannot connect to {where}: it refuses the key of the user "{request.user}". Compare '
            f'"ceph auth get-key client.{request.user}" with the value of the pool\'s secret in '
            "libvirt."
        )
    return PoolUnavailable(
        f"Cannot connect to {where}: {error}. Check the monitors and the secret in the pool's "
        "definition in libvirt."
    )


def _address(monitor: Monitor) -> str:
    host = monitor.host
    if not host or not all(
        (one.isascii() and one.isalnum()) or one in _HOST_CHARACTERS for one in host
    ):
        raise Internal("The name of a monitor is invalid.")
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return host if monitor.port is None else f"{host}:{monitor.port}"
