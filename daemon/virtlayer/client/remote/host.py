# SPDX-License-Identifier: LGPL-2.1-or-later
"""The host at the other end, as commands ask about it. Its answers may come from an attacker."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from virtlayer.client.host import HostFacts
from virtlayer.client.kernels import Kernel
from virtlayer.client.output import print_json_line, print_line, print_warning
from virtlayer.errors import HostUnavailable, InvalidArgument

type Ask = Callable[[Mapping[str, object]], Awaitable[Any]]
"""Asks the bridge a question, and returns its answer."""


class OtherHost:
    """The host of ``--host``.

    Args:
        name: Its name.
        ask: Asks its bridge.

    Attributes:
        name: The same.
    """

    def __init__(self, name: str, ask: Ask) -> None:
        self.name = name
        self._ask = ask

    async def facts(self, files: Sequence[Path]) -> HostFacts:
        """See Host."""
        found = await self._ask({"about": "facts", "files": [str(path) for path in files]})
        kernel, initrd = self._text(found, "kernel"), self._text(found, "initrd")
        existing = {str(path) for path in self._value(found, "existing", list)}
        return HostFacts(
            self._text(found, "architecture"),
            self._value(found, "has_kvm", bool),
            Kernel(Path(kernel), Path(initrd) if initrd else None) if kernel else None,
            frozenset(path for path in files if str(path) in existing),
        )

    async def user_names(self, uids: Iterable[int]) -> dict[int, str]:
        """See Host."""
        wanted = sorted(set(uids))
        found = await self._ask({"about": "users", "uids": wanted})
        names = self._value(found, "names", dict)
        return {uid: str(names[str(uid)]) for uid in wanted if str(uid) in names}

    async def print_journal(self, job: int, pid: int | None, *, as_json: bool) -> int:
        """See Host."""
        question = {"about": "journal", "job": job, "pid": pid, "as_json": as_json}
        found = await self._ask(question)
        # Not splitlines(), for which other characters end a line as well. The last one is not
        # complete, or empty.
        for line in self._text(found, "text").split("\n")[:-1]:
            if as_json:
                print_json_line(line)
            else:
                print_line(line)
        if not self._value(found, "is_whole", bool):
            print_warning("The job has more lines in the journal than are shown here.")
        if found.get("status") is None:
            raise InvalidArgument(f"journalctl is not installed on {self.name}.")
        return self._value(found, "status", int) & 0x7F

    def _text(self, found: object, key: str) -> str:
        return self._value(found, key, str)

    def _value[T](self, found: object, key: str, kind: type[T]) -> T:
        value = found.get(key) if isinstance(found, dict) else None
        if not isinstance(value, kind):
            raise HostUnavailable(f"virtlayer on {self.name} sent an invalid answer.")
        return value
