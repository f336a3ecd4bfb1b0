# SPDX-License-Identifier: LGPL-2.1-or-later
"""The terminal on which a reader of the documents works."""

import os
from pathlib import Path

from tests.support.terminal import run_on_terminal


def test_program_that_closes_its_terminal_ends_by_itself(tmp_path: Path) -> None:
    script = "echo done; exec <&- >&- 2>&-; sleep 0.2; exit 3"
    environment = {"PATH": os.environ["PATH"]}
    ended = run_on_terminal(
        "bash", "-c", script, env=environment, cwd=tmp_path, answers=[], patience=60
    )
    assert (ended.returncode, ended.stdout) == (3, "done\r\n")
