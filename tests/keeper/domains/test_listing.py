# SPDX-License-Identifier: LGPL-2.1-or-later
"""Lists of domains, asked for at any time."""

from tests.support.raw_keeper import RawKeeper


def test_first_lists_can_be_asked_for_at_the_same_time(keeper: RawKeeper) -> None:
    requests = 8
    for number in range(1000, 1000 + requests):
        content = {"since": None, "name": None}
        keeper.send({"id": number, "ask": "list-domains", "with": content})
    replies = [keeper.receive()[0] for _ in range(requests)]
    assert [reply.get("error") for reply in replies] == [None] * requests
