# SPDX-License-Identifier: LGPL-2.1-or-later
"""A session for the tests of one file."""

from collections.abc import Iterator

import pytest

from tests.examples.place import Place, place


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("session")) as running:
        yield running
