#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pull an image into a pool, with dasbus: ``pull_dasbus.py SOURCE [POOL]``."""

import sys

from dasbus.connection import SessionMessageBus
from dasbus.error import DBusError
from dasbus.loop import EventLoop
from dasbus.typing import Bool, get_native, get_variant


def main(source: str, pool: str = "default") -> None:
    """Start a pull, and print the result."""
    bus = SessionMessageBus()  # SystemMessageBus() is for the pools of qemu:///system
    manager = bus.get_proxy("org.virtlayer1", "/org/virtlayer1")
    loop = EventLoop()
    ended: dict[str, tuple[str, str, str]] = {}

    def on_finished(_number: int, path: str, result: str, error: str, message: str) -> None:
        ended[path] = (result, error, message)
        loop.quit()

    # A small job may be over when the reply arrives: ask for this before it is there.
    manager.JobFinished.connect(on_finished)
    try:
        _number, job = manager.Pull(source, pool, {"cache": get_variant(Bool, False)})
    except DBusError as refused:
        raise SystemExit(f"{refused.dbus_name}: {refused}") from None
    while job not in ended:
        loop.run()

    result, error, message = ended[job]
    if result != "done":
        raise SystemExit(f"{error or result}: {message}")
    outcome = bus.get_proxy("org.virtlayer1", job).Result
    print(get_native(outcome)["path"])


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        print("usage: pull_dasbus.py SOURCE [POOL]", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
