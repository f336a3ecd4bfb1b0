# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stops a machine or container that virtlayer has made."""

from dataclasses import dataclass

from virtlayer.errors import InvalidArgument
from virtlayer.protocol.names import DomainName

DEFAULT_TIMEOUT = 10
_LONGEST_TIMEOUT = 24 * 60 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class StopDomainRequest:
    """A request to stop a machine.

    Attributes:
        name: The name of its domain.
        timeout: Seconds that it may take after it was asked to stop; then it is stopped by force.

    Raises:
        InvalidArgument: The timeout is too long.
    """

    name: DomainName
    timeout: int = DEFAULT_TIMEOUT

    def __post_init__(self) -> None:
        if self.timeout > _LONGEST_TIMEOUT:
            raise InvalidArgument(
                f'Invalid option "timeout": {self.timeout} s. The longest is {_LONGEST_TIMEOUT} s.'
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedDomain:
    """A machine that was stopped.

    Attributes:
        forced: Whether it did not stop by itself in time.
    """

    forced: bool
