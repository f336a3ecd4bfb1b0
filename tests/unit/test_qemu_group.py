# SPDX-License-Identifier: LGPL-2.1-or-later
"""The group of QEMU's processes in libvirt's capabilities."""

import grp

import pytest

from virtlayer.errors import Libvirt
from virtlayer.keeper.qemu_group import parse_group


def capabilities(*labels: tuple[str, str], model: str = "dac") -> str:
    described = "".join(f"<baselabel type='{kind}'>{label}</baselabel>" for kind, label in labels)
    return (
        "<capabilities><host><uuid>1</uuid>"
        "<secmodel><model>apparmor</model><doi>0</doi></secmodel>"
        f"<secmodel><model>{model}</model><doi>0</doi>{described}</secmodel>"
        "</host></capabilities>"
    )


def test_group_is_given_by_its_number() -> None:
    assert parse_group(capabilities(("kvm", "+64055:+993"), ("qemu", "+1:+2"))) == 993
    assert parse_group(capabilities(("qemu", "+64055:+994"))) == 994


def test_group_is_given_by_its_name() -> None:
    group = grp.getgrgid(65534)
    assert parse_group(capabilities(("kvm", f"root:{group.gr_name}"))) == 65534


@pytest.mark.parametrize(
    "text",
    [
        capabilities(),
        capabilities(("kvm", "+1:+2"), model="selinux"),
        capabilities(("lxc", "+1:+2")),
        "<capabilities><host/></capabilities>",
    ],
)
def test_without_a_label_there_is_no_group(text: str) -> None:
    assert parse_group(text) is None


@pytest.mark.parametrize("label", ["+64055:no-such-group", "+64055", "+1:", "+1:+x"])
def test_unknown_group_is_an_error(label: str) -> None:
    with pytest.raises(Libvirt, match=r"qemu\.conf"):
        parse_group(capabilities(("kvm", label)))
