# SPDX-License-Identifier: LGPL-2.1-or-later
"""Errors in the tables for scripts and callers."""

import re
from pathlib import Path

import pytest

from virtlayer import errors
from virtlayer.client.exits import Exit, exit_of
from virtlayer.errors import HostUnavailable, ServiceUnavailable, VirtlayerError

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.DomainExists, Exit.CONFLICT),
        (errors.ImageExists, Exit.CONFLICT),
        (errors.InUse, Exit.CONFLICT),
        (errors.DomainNotFound, Exit.NOT_FOUND),
        (errors.NoKernel, Exit.NOT_FOUND),
        (errors.AmbiguousKernel, Exit.USAGE),
        (errors.DomainFailed, Exit.FAILED),
        (errors.Unsupported, Exit.FAILED),
    ],
)
def test_errors_about_machines_have_their_exit_statuses(
    error: type[VirtlayerError], status: Exit
) -> None:
    assert exit_of(error("x")) == status


def test_the_page_for_callers_names_every_error_of_the_service() -> None:
    page = (CHECKOUT / "docs" / "callers.md").read_text()
    table = page.partition("## Errors")[2]
    named = re.findall(r"`([A-Z][A-Za-z]+)`", table)
    sent = {kind.__name__ for kind in VirtlayerError.__subclasses__()}
    sent -= {ServiceUnavailable.__name__, HostUnavailable.__name__}  # the client's own
    assert sorted(named) == sorted(sent)
