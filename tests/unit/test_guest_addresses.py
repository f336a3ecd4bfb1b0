# SPDX-License-Identifier: LGPL-2.1-or-later
"""Guests that do not answer are not waited for by more than a few calls."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.waiting import PATIENCE
from virtlayer.keeper.domains.addresses import addresses_of
from virtlayer.keeper.domains.description import Found, parse_domain

_AGENT = 1
_XML = """
<domain>
  <metadata>
    <virtlayer:machine xmlns:virtlayer="http://virtlayer.org/xmlns/libvirt/domain/1.0" boot="disk"/>
  </metadata>
  <devices>
    <channel><target name="org.qemu.guest_agent.0" state="connected"/></channel>
  </devices>
</domain>
"""


def _found() -> Found:
    found = parse_domain(_XML)
    assert found is not None
    return found


class SilentGuest:
    """What libvirt says about a guest whose agent answers only when the test ends."""

    def __init__(self) -> None:
        self.uuid = str(uuid.uuid4())
        self.is_asked = threading.Event()
        self.answers = threading.Event()
        self.number = 0

    def UUIDString(self) -> str:  # noqa: N802 -- libvirt's name
        """Its UUID."""
        return self.uuid

    def agentSetResponseTimeout(self, _seconds: int) -> None:  # noqa: N802 -- libvirt's name
        """Accept any timeout."""

    def interfaceAddresses(self, source: int, _flags: int) -> dict[str, Any]:  # noqa: N802 -- libvirt's name
        """Only the agent knows an address."""
        if source != _AGENT:
            return {}
        self.number += 1
        self.is_asked.set()
        assert self.answers.wait(PATIENCE)
        return {"eth0": {"addrs": [{"addr": "192.0.2.1"}]}}


@pytest.mark.parametrize("guests", [1, 3])
def test_silent_guests_hold_up_few_calls(guests: int) -> None:
    silent = [SilentGuest() for _ in range(guests)]
    others = silent[:1] if guests == 1 else [SilentGuest()]
    with ThreadPoolExecutor(guests) as pool:
        waiting = [pool.submit(addresses_of, guest, _found()) for guest in silent]
        for guest in silent:
            assert guest.is_asked.wait(PATIENCE)
        try:
            for other in others:
                before = other.number
                assert addresses_of(other, _found()) == ()
                assert other.number == before
        finally:
            for guest in silent:
                guest.answers.set()
        assert [one.result() for one in waiting] == [("192.0.2.1",)] * guests
    # A guest is asked again afterwards.
    assert addresses_of(silent[0], _found()) == ("192.0.2.1",)
