# SPDX-License-Identifier: LGPL-2.1-or-later
"""A private bus for each test that asks for one."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bus_daemon import Bus, session_bus


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    with session_bus(tmp_path) as running:
        yield running


@pytest.fixture
def descriptors() -> Iterator[None]:
    """See that the test leaves no descriptor open."""
    before = _targets()
    yield
    assert _targets() == before


def _targets() -> list[str]:
    links = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the directory's own descriptor
            links.append(f"{link.name} {link.readlink()}")
    return sorted(links)
