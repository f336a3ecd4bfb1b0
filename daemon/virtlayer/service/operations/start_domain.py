# SPDX-License-Identifier: LGPL-2.1-or-later
"""Starts a machine or container that virtlayer has made."""

from dataclasses import dataclass

from virtlayer.protocol.names import DomainName


@dataclass(frozen=True, slots=True, kw_only=True)
class StartDomainRequest:
    """A request to start a machine.

    Attributes:
        name: The name of its domain.
    """

    name: DomainName
