# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lists of domains, asked for at any time."""

from typing import Any

from tests.keeper.domains.requests import Machines
from tests.support.libvirt_host import LibvirtHost
from tests.support.raw_keeper import RawKeeper


def test_first_lists_can_be_asked_for_at_the_same_time(keeper: RawKeeper) -> None:
    requests = 8
    for number in range(1000, 1000 + requests):
        content = {"since": None, "name": None}
        keeper.send({"id": number, "ask": "list-domains", "with": content})
    replies = [keeper.receive()[0] for _ in range(requests)]
    assert [reply.get("error") for reply in replies] == [None] * requests


def test_change_of_one_domain_is_no_reason_to_read_the_others(
    machines: Machines, host: LibvirtHost
) -> None:
    for name in ("stays", "goes", "goes-first"):
        machines.made(name=name)
    listed = machines.keeper.get("list-domains", since=None, name=None)

    def listed_without(name: str) -> list[dict[str, Any]]:
        nonlocal listed
        host.virsh("undefine", name)
        while name in [one["name"] for one in listed["domains"]]:
            listed = machines.keeper.get("list-domains", since=listed["generation"], name=None)
        found: list[dict[str, Any]] = listed["domains"]
        return found

    # Then the events about the definitions have come, too.
    listed_without("goes-first")
    # libvirt does not report this change.
    host.virsh("autostart", "stays")
    found = listed_without("goes")
    assert [(one["name"], one["autostart"]) for one in found] == [("stays", False)]
    [anew] = machines.list()
    assert (anew["name"], anew["autostart"]) == ("stays", True)
