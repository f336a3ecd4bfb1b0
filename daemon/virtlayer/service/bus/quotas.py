# SPDX-License-Identifier: LGPL-2.1-or-later
"""Limits the calls in flight and the open descriptors of each user.

A call is counted as soon as it arrives. Until the bus has reported the user of the connection, the
call is counted for the connection.
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
    """The counted resources, by the names of the settings."""

    CALLS = "calls"
    WAITING_CALLS = "waiting-calls"
    DESCRIPTORS = "descriptors"


_MEANINGS = {
    Quota.CALLS: "calls in progress",
    Quota.WAITING_CALLS: "calls that wait for jobs",
    Quota.DESCRIPTORS: "file descriptors open in virtlayerd",
}


class Quotas:
    """Counts the calls and descriptors of every user.

    Args:
        callers: Has the users of connections.
        settings: The limits for a user.
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
            Busy: Its caller has reached a quota.
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
            Busy: The user has reached a quota.
            NotAuthorized: The caller has disconnected.
        """
        assert call.lease is not None, "a call is counted when it arrives"
        uid = await self._callers.uid(call.sender)
        call.lease.move(uid)
        return uid

    def take(self, holder: _Holder, amounts: Counter[Quota]) -> None:
        """Count resources for a user or connection; for leases.

        Raises:
            Busy: This would exceed a quota. Nothing is counted then.
        """
        held = self._held.get(holder, Counter())
        if holder not in self._exempt:
            for quota, amount in amounts.items():
                limit = self._limits[quota]
                if isinstance(holder, str) and quota is Quota.CALLS:
                    # Users without limits are not identified yet.
                    limit += self._limits[Quota.WAITING_CALLS]
                if held[quota] + amount > limit:
                    raise _busy(quota, limit)
        self._held[holder] = held + amounts

    def give_back(self, holder: _Holder, amounts: Counter[Quota]) -> None:
        """Stop counting resources; for leases."""
        self._held[holder] -= amounts  # which removes entries of 0
        if not self._held[holder]:
            del self._held[holder]


class Lease:
    """The usage of the quotas of the caller by one call.

    Raises:
        Busy: The caller has reached a quota.
    """

    def __init__(self, quotas: Quotas, holder: _Holder, amounts: Counter[Quota]) -> None:
        quotas.take(holder, amounts)
        self._quotas = quotas
        self._holder = holder
        self._amounts = amounts

    def move(self, holder: _Holder) -> None:
        """Count the call for another user.

        Raises:
            Busy: That user has reached a quota. The call is counted as before then.
        """
        if holder != self._holder:
            self._quotas.take(holder, self._amounts)
            self._quotas.give_back(self._holder, self._amounts)
            self._holder = holder

    def descriptors_closed(self, number: int) -> None:
        """Return this number of descriptors to the quota."""
        self._give_back(Counter({Quota.DESCRIPTORS: number}))

    def call_ended(self) -> None:
        """Return the call to the quota. Descriptors that were taken out of it are still counted."""
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
