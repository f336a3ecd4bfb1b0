# SPDX-License-Identifier: LGPL-2.1-or-later
"""One Ceph cluster for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.support.ceph import CephPool, OneNodeCeph
from tests.support.leftovers import shared_by_tests


@pytest.fixture(scope="session")
def ceph() -> Iterator[OneNodeCeph]:
    """The cluster."""
    with shared_by_tests(), OneNodeCeph() as cluster:
        yield cluster


@pytest.fixture
def pool(ceph: OneNodeCeph) -> CephPool:
    """A pool of the test's own."""
    return ceph.pool()
