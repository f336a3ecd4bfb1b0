# SPDX-License-Identifier: LGPL-2.1-or-later
"""Blobs that arrive ahead of their use, and are held until it is over."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack

from virtlayer.service.chain.request import Fetch
from virtlayer.service.source.arriving_blob import Blob
from virtlayer.service.source.image import Layer

_DOWNLOADS = 3
"""Blobs that arrive at a time: one through the proxy does not fill a fast network."""


class Loan:
    """A blob that is downloaded ahead and held until its layer is applied.

    Attributes:
        layer: Whose it is.
        blob: Lent as soon as some of it may be there.
        over: Set by who needs it no more.
    """

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.blob: asyncio.Future[Blob] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()

    @property
    def is_here(self) -> bool:
        """Whether all of it has arrived."""
        return self.blob.done() and self.blob.result().is_over

    async def lent(self) -> Blob:
        """Wait until some of it may be there. A wait that is cancelled leaves the loan as it is."""
        return await asyncio.shield(self.blob)

    async def verified(self) -> int:
        """Wait until all of it is there, and its digest right.

        Returns:
            Its descriptor, at offset 0.

        Raises:
            VirtlayerError: It does not come, or is something else.
        """
        blob = await self.lent()
        await blob.verified()
        return blob.descriptor


class Lender:
    """Lends blobs; they arrive in the order in which they are asked for.

    Args:
        fetch: Gets one.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._downloads = asyncio.Semaphore(_DOWNLOADS)

    async def lend(self, loan: Loan) -> None:
        """Get the blob, and hold it until it is given back.

        Raises:
            VirtlayerError: It does not come, or is something else.
        """
        async with AsyncExitStack() as stack:
            async with self._downloads:
                blob = await stack.enter_async_context(self._fetch(loan.layer))
                loan.blob.set_result(blob)
                await blob.verified()
            await loan.over.wait()


@contextlib.asynccontextmanager
async def lent(layers: Iterable[Layer], fetch: Fetch) -> AsyncIterator[tuple[Loan, ...]]:
    """Have the blobs of all these layers arrive, in this order.

    Raises:
        VirtlayerError: What ``fetch`` raises, also while the caller works on a blob.
    """
    lender = Lender(fetch)
    try:
        async with asyncio.TaskGroup() as group:
            loans = tuple(map(Loan, layers))
            for loan in loans:
                group.create_task(lender.lend(loan))
            yield loans
    except BaseExceptionGroup as failures:
        raise first_failure(failures) from failures


def first_failure(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the others' work: tasks that are cancelled for it raise nothing."""
    error = group.exceptions[0]
    return first_failure(error) if isinstance(error, BaseExceptionGroup) else error
