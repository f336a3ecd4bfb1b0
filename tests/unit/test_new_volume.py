# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options of a new volume, and the handling of root's password."""

import os
import subprocess
from typing import Any

import pytest

from virtlayer.errors import InvalidArgument
from virtlayer.protocol.names import parse_volume_name
from virtlayer.service.operations.new_volume import NewVolume
from virtlayer.service.operations.passwords import hash_password
from virtlayer.service.source.passed_descriptor import secrets_deadline
from virtlayer.sizes import MIB, TIB

PASSWORD = "swordfish-2kd8"
V = parse_volume_name("v")


@pytest.mark.parametrize("name", ["a", "guest.qcow2", "no suffix", "a:b", "ü", "x" * 255, "-", "~"])
def test_a_name_is_taken_to_the_letter(name: str) -> None:
    assert NewVolume(name=parse_volume_name(name)).name == name


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": ".x"},
        {"name": ".."},
        {"name": "/etc/passwd"},
        {"name": "a/b"},
        {"name": "a\x7f"},
        {"name": "a\ud800"},
        {"name": "ü" * 128},
        {"name": f"layer-{'a' * 64}.qcow2"},
        {"name": f"kernel-{'a' * 64}"},
        {"name": f"initrd-{'a' * 64}"},
        {"name": "config-01234567-89ab-cdef-0123-456789abcdef.raw"},
        {"name": "seed-01234567-89ab-cdef-0123-456789abcdef.iso"},
        {"name": "v", "size": 0},
        {"name": "v", "size": MIB},
        {"name": "v", "size": 64 * MIB + 1},
        {"name": "v", "size": 64 * TIB},
        {"name": "v", "size": 2**63},
        {"name": "v", "hostname": ""},
        {"name": "v", "ssh_authorized_keys": ("no key",)},
        {"name": "v", "root_password": "x", "root_password_fd": 0},
    ],
)
def test_invalid_arguments_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        NewVolume(**options | {"name": parse_volume_name(options["name"])})


def test_a_volume_is_as_large_as_its_image_or_larger() -> None:
    assert NewVolume(name=V).size_on(64 * MIB, "image") == 64 * MIB
    assert NewVolume(name=V, size=65 * MIB).size_on(64 * MIB, "image") == 65 * MIB
    with pytest.raises(InvalidArgument, match='image "demo"'):
        NewVolume(name=V, size=64 * MIB).size_on(65 * MIB, "demo")


async def test_without_options_nothing_is_changed() -> None:
    assert not await NewVolume(name=V, size=64 * MIB).customization(64 * MIB, identity=False)
    grown = await NewVolume(name=V, grow_filesystem=True).customization(MIB)
    assert grown.filesystem_size == MIB


@pytest.mark.parametrize(
    ("identity", "keep", "fresh"),
    [
        (True, False, True),
        (None, False, True),
        (False, False, False),
        (True, True, False),
        (None, True, False),
    ],
)
async def test_identity_that_an_image_may_have_is_replaced_unless_it_is_kept(
    identity: bool | None, *, keep: bool, fresh: bool
) -> None:
    volume = NewVolume(name=V, keep_identity=keep)
    assert (await volume.customization(MIB, identity=identity)).fresh_identity is fresh


def accepts(hashed: str, password: str) -> bool:
    """Whether the system's crypt(3), as Perl has it, makes the same of the password."""
    script = "exit(crypt($ENV{P}, $ARGV[0]) eq $ARGV[0] ? 0 : 1)"
    return not subprocess.call(["perl", "-e", script, hashed], env={"P": password})


@pytest.mark.parametrize("password", [PASSWORD, "x", "pässwörd 🔑", "p" * 511])
def test_password_hash_is_supported_by_every_libc(password: str) -> None:
    hashed = hash_password(password)
    assert hashed.startswith("$6$rounds=100000$")
    assert hashed != hash_password(password)
    assert accepts(hashed, password)
    assert not accepts(hashed, password[:-1])


@pytest.mark.parametrize("password", ["", "p" * 512, "SECRET\n", "SECRET\0more", "SECRET\x7f"])
def test_password_with_control_characters_is_refused(password: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        hash_password(password)
    assert "SECRET" not in caught.value.message


@pytest.mark.parametrize("content", [PASSWORD, f"{PASSWORD}\n", f"{PASSWORD}\r\n"])
async def test_a_password_comes_from_a_descriptor(content: str) -> None:
    receiver, sender = os.pipe()
    os.write(sender, content.encode())
    os.close(sender)
    try:
        volume = NewVolume(name=V, root_password_fd=receiver)
        made = await (await volume.settled(secrets_deadline())).customization(MIB)
    finally:
        os.close(receiver)
    assert made.root_password_hash is not None
    assert accepts(made.root_password_hash, PASSWORD)


async def test_a_descriptor_that_gives_no_text_is_refused_without_showing_it() -> None:
    descriptor = os.memfd_create("password")
    try:
        os.write(descriptor, b"SECRET\xff")
        with pytest.raises(InvalidArgument) as caught:
            await NewVolume(name=V, root_password_fd=descriptor).settled(secrets_deadline())
    finally:
        os.close(descriptor)
    assert "SECRET" not in caught.value.message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_password_is_not_shown() -> None:
    assert PASSWORD not in repr(NewVolume(name=V, root_password=PASSWORD))
