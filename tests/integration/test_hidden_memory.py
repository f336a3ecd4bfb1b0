# SPDX-License-Identifier: LGPL-2.1-or-later
"""The memory of the system service is hidden from other processes of its user."""

import subprocess
import sys

import pytest

from tests.bus.polkit import NOBODY
from tests.support.ordinary_user import as_user

# The child is less restricted than a skopeo, and is refused all the same.
SCRIPT = """
import subprocess, sys
from virtlayer.service.hidden_memory import hide
if sys.argv[1] == "hidden":
    hide()
look = "import os; print(os.access(f'/proc/{os.getppid()}/mem', os.R_OK), end='')"
subprocess.run([sys.executable, "-c", look], check=True)
open("/proc/self/status").read()
"""


@pytest.mark.parametrize(("state", "readable"), [("open", "True"), ("hidden", "False")])
def test_child_cannot_open_the_memory_of_its_parent(state: str, readable: str) -> None:
    command = as_user(NOBODY.pw_uid, sys.executable, "-c", SCRIPT, state)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == readable
