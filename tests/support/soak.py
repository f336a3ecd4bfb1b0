# SPDX-License-Identifier: LGPL-2.1-or-later
"""How often a test is repeated whose faults appear only sometimes.

`make check` repeats it a few times. `make soak` sets SOAK, which multiplies that number.
"""

import os

import pytest

FACTOR = int(os.environ.get("SOAK", "1"))

in_soak = pytest.mark.skipif(FACTOR == 1, reason="boots a machine: for make soak")
"""Marks a test of which `make check` has another one: it boots six machines at most."""
