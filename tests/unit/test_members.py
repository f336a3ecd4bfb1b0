# SPDX-License-Identifier: LGPL-2.1-or-later
"""Members of D-Bus interfaces, as classes declare them."""

from virtlayer.service.bus.call import Call
from virtlayer.service.bus.members import Interface, method, signal


class Part(Interface):
    @method("One")
    async def one(self, _call: Call) -> None: ...

    @signal("Happened", text="s")
    def happened(self, text: str) -> None: ...


class Whole(Part):
    interface = "org.example.Whole"

    @method("Two")
    async def two(self, _call: Call) -> None: ...


def test_an_interface_has_the_members_of_its_bases() -> None:
    assert [*Whole.methods] == ["One", "Two"]
    assert [*Whole.signals] == ["Happened"]
    assert [*Part.methods] == ["One"]
