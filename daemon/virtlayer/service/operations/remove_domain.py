# SPDX-License-Identifier: LGPL-2.1-or-later
"""Removes a machine or container that virtlayer has made, with its own volume."""

from dataclasses import dataclass

from virtlayer.protocol.names import DomainName


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveDomainRequest:
    """A request to remove a machine. The result is what was freed.

    Attributes:
        name: The name of its domain.
        force: Whether it is stopped first, if it runs.
    """

    name: DomainName
    force: bool = False
