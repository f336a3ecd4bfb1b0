# SPDX-License-Identifier: LGPL-2.1-or-later
"""``virtlayer-rbd``: does for the keeper what must be done in one RBD pool.

Its standard input is the connection to the keeper. In the system, systemd starts a process for each
connection to virtlayer-rbd.socket; in a session, the keeper starts it.
"""

import argparse
import asyncio
import logging
import os
import resource
import signal
import socket
import stat
import sys

from virtlayer import journal
from virtlayer.rbd.refusing import RefusingConnection
from virtlayer.version import VERSION

try:
    from virtlayer.rbd.answers.connection import KeeperConnection
except ImportError as error:
    _missing = str(error)
else:
    _missing = ""

_log = logging.getLogger(__name__)


def main() -> None:
    """Answer the keeper until it, or the service manager, ends this process."""
    parser = argparse.ArgumentParser(
        prog="virtlayer-rbd",
        description="Accesses an RBD pool for virtlayer-keeper, which has no network.",
    )
    parser.add_argument("--version", action="version", version=f"virtlayer-rbd {VERSION}")
    parser.parse_args()
    os.umask(0o077)
    # No core dump, of this process or of a server, has the key.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    journal.configure_logging("virtlayer-rbd")
    if not stat.S_ISSOCK(os.fstat(sys.stdin.fileno()).st_mode):
        _log.critical(
            "virtlayer-rbd is started by systemd (virtlayer-rbd.socket) or by the keeper."
        )
        sys.exit(1)
    asyncio.run(_serve(socket.socket(fileno=os.dup(0))))
    logging.shutdown()
    # Not sys.exit(), which joins threads: one may be waiting for a cluster that does not answer.
    os._exit(0)


async def _serve(connection: socket.socket) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    keeper = RefusingConnection(connection, _missing) if _missing else KeeperConnection(connection)
    ends = [asyncio.create_task(event.wait()) for event in (keeper.ended, stop)]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in ends:
            task.cancel()
        await keeper.close(stop)
