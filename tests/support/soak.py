# SPDX-License-Identifier: LGPL-2.1-or-later
"""How often a test is repeated whose faults appear only sometimes.

`make check` repeats it a few times. `make soak` sets SOAK, which multiplies that number.
"""

import os

import pytest

FACTOR = int(os.environ.get("SOAK", "1"))

in_soak = pytest.mark.in_soak
"""Marks a test for which the gate has no time. It boots six machines at most."""
