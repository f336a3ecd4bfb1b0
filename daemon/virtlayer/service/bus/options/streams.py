# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options of the calls about the output and input of machines."""

from dataclasses import dataclass

from virtlayer.service.bus.options.parsing import option
from virtlayer.service.machines.streams.stream import StreamRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStreamsOptions:
    """The options of OpenStreams."""

    tail: int | None = option("t")
    follow: bool = option("b", default=False)
    input: bool = option("b", default=False)
    kernel: bool = option("b", default=False)

    @property
    def request(self) -> StreamRequest:
        """Return what the caller wants.

        Raises:
            InvalidArgument: Options exclude each other.
        """
        return StreamRequest(
            tail=self.tail, follow=self.follow, input=self.input, kernel=self.kernel
        )
