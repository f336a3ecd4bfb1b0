# SPDX-License-Identifier: LGPL-2.1-or-later
"""What each user may have of the service at a time: calls in flight and open descriptors.

A call is counted as soon as it arrives. Until the bus has told whose connection it came by, it is
counted for that connection.
"""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from virtlayer.errors import Busy
from virtlayer.service.bus.call import Call
from virtlayer.service.bus.callers import Callers
from virtlayer.settings import QuotaSettings

type _Holder = int | str
"""A uid, or the unique name of a connection whose user is not known yet."""


class Quota(StrEnum):
    """What is counted, by the names of the settings."""

    CALLS = "calls"
    WAITING_CALLS = "waiting-calls"
    DESCRIPTORS = "descriptors"


_MEANINGS = {
    Quota.CALLS: "calls in progress",
    Quota.WAITING_CALLS: "calls that wait for jobs",
    Quota.DESCRIPTORS: "file descriptors open in virtlayerd",
}


class Quotas:
    """Counts what every user has.

    Args:
        callers: Knows the users of connections.
        settings: How much a user may have.
        exempt: The uids that may have any amount.
    """

    def __init__(
        self, callers: Callers, settings: QuotaSettings, *, exempt: frozenset[int]
    ) -> None:
        self._callers = callers
        self._limits: Mapping[Quota, int] = {
            Quota.CALLS: settings.calls,
            Quota.WAITING_CALLS: settings.waiting_calls,
            Quota.DESCRIPTORS: settings.descriptors,
        }
        self._exempt = exempt
        self._held: dict[_Holder, Counter[Quota]] = {}

    def begin(self, call: Call, *, waits: bool) -> None:
        """Count a call that has arrived, with its descriptors, until it is closed.

        Args:
            call: The call.
            waits: Whether it waits for a job.

        Raises:
            Busy: Its caller has too many already.
        """
        uid = self._callers.known_uid(call.sender)
        amounts = Counter({Quota.WAITING_CALLS if waits else Quota.CALLS: 1})
        if call.open_descriptors:
            amounts[Quota.DESCRIPTORS] = call.open_descriptors
        call.lease = Lease(self, call.sender if uid is None else uid, amounts)

    async def identify(self, call: Call) -> int:
        """Count a call for its user from now on.

        Returns:
            The user's uid.

        Raises:
            Busy: The user has too many already.
            NotAuthorized: The caller has left the bus.
        """
        assert call.lease is not None, "a call is counted when it arrives"
        uid = await self._callers.uid(call.sender)
        call.lease.move(uid)
        return uid

    def take(self, holder: _Holder, amounts: Counter[Quota]) -> None:
        """Count these for somebody; for leases.

        Raises:
            Busy: That would be too many. Nothing is counted then.
        """
        held = self._held.get(holder, Counter())
        if holder not in self._exempt:
            for quota, amount in amounts.items():
                limit = self._limits[quota]
                if isinstance(holder, str) and quota is Quota.CALLS:
                    # Users without limits are not known as such yet.
                    limit += self._limits[Quota.WAITING_CALLS]
                if held[quota] + amount > limit:
                    raise _busy(quota, limit)
        self._held[holder] = held + amounts

    def give_back(self, holder: _Holder, amounts: Counter[Quota]) -> None:
        """Count these no longer; for leases."""
        self._held[holder] -= amounts  # which drops what is 0
        if not self._held[holder]:
            del self._held[holder]


class Lease:
    """What one call has of the quotas of its caller.

    Raises:
        Busy: The caller has too much already.
    """

    def __init__(self, quotas: Quotas, holder: _Holder, amounts: Counter[Quota]) -> None:
        quotas.take(holder, amounts)
        self._quotas = quotas
        self._holder = holder
        self._amounts = amounts

    def move(self, holder: _Holder) -> None:
        """Count it for somebody else.

        Raises:
            Busy: That one has too much already. It is counted as before then.
        """
        if holder != self._holder:
            self._quotas.take(holder, self._amounts)
            self._quotas.give_back(self._holder, self._amounts)
            self._holder = holder

    def descriptors_closed(self, number: int) -> None:
        """Give back so many descriptors."""
        self._give_back(Counter({Quota.DESCRIPTORS: number}))

    def call_ended(self) -> None:
        """Give back the call. Descriptors that were taken out of it are still counted."""
        self._give_back(
            Counter({quota: n for quota, n in self._amounts.items() if quota != Quota.DESCRIPTORS})
        )

    def _give_back(self, amounts: Counter[Quota]) -> None:
        self._amounts = self._amounts - amounts
        self._quotas.give_back(self._holder, amounts)


def _busy(quota: Quota, limit: int) -> Busy:
    return Busy(
        f"Your limit of {limit} {_MEANINGS[quota]} is reached (quota.{quota} in virtlayerd.toml). "
        "Try again when some of them have ended."
    )
