# SPDX-License-Identifier: LGPL-2.1-or-later
"""An event loop whose clock goes to the next timer as soon as nothing else is to be done.

For code that only waits for time: a busy machine makes no difference, and no time is spent.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _Selector(selectors.DefaultSelector):
    """Waits for nothing; counts the time that it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing will ever happen"
        self.now += max(timeout, 0)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._instant = _Selector()
        super().__init__(self._instant)

    def time(self) -> float:
        return self._instant.now


def instantly(work: Coroutine[Any, Any, None]) -> float:
    """Run a coroutine; return how many seconds it took by its own clock.

    Args:
        work: It waits for timers and for itself, not for other processes or threads.
    """
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(work)
        return runner.get_loop().time()
