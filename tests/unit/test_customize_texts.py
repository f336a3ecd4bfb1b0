# SPDX-License-Identifier: LGPL-2.1-or-later
"""The texts that a customization changes, and the maps of ids."""

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtlayer.errors import InvalidArgument
from virtlayer.protocol.customization import Customization
from virtlayer.protocol.hostname import checked_hostname
from virtlayer.protocol.id_ranges import IdMap, IdRange, Owners, UnmappedId
from virtlayer.protocol.ssh_keys import checked_keys, with_keys
from virtlayer.worker.customize.accounts import (
    Account,
    group_number,
    password_in_shadow,
    root_account,
    with_root_password,
)


@pytest.mark.parametrize(
    ("passwd", "account"),
    [
        (b"root:x:0:0:root:/root:/bin/sh\n", Account(0, 0, b"/root")),
        (b"rootless:x:5:5::/home/r:/bin/sh\nroot:x:0:7::/r:/bin/sh", Account(0, 7, b"/r")),
        (b"root::0:0:::\n", Account(0, 0, b"/")),
        (
            b"toor:x:0:0::/root:/bin/sh\nroot:x:0:0::/a:/b\nroot:x:0:0::/c:/d\n",
            Account(0, 0, b"/a"),
        ),
        (b"rootless:x:0:0::/root:/bin/sh\n", None),
        (b" root:x:0:0::/root:/bin/sh\n", None),
        (b"ROOT:x:0:0::/root:/bin/sh\n", None),
        (b"root:x:0:0\n", None),
        (b"root:x:zero:0::/root:/bin/sh\n", None),
        (b"", None),
    ],
)
def test_only_the_exact_root_line_is_its_account(passwd: bytes, account: Account | None) -> None:
    assert root_account(passwd) == account


@pytest.mark.parametrize(
    ("shadow", "expected"),
    [
        (b"", b"root:H:9:0:99999:7:::\n"),
        (b"root:*:1:0:99999:7:::\n", b"root:H:9:0:99999:7:::\n"),
        (b"root:!$6$old:1:2:3:4:5:6:7\nx:!:1::::::\n", b"root:H:9:2:3:4:5:6:7\nx:!:1::::::\n"),
        (b"root:", b"root:H:9::::::"),
        (b"rootless:!:1::::::\n", b"root:H:9:0:99999:7:::\nrootless:!:1::::::\n"),
        (b"+::::::::\n", b"root:H:9:0:99999:7:::\n+::::::::\n"),
        (b"caf\xe9:!\n\nroot::1::::::\nroot:2:\n", b"caf\xe9:!\n\nroot:H:9::::::\nroot:2:\n"),
    ],
)
def test_a_password_changes_one_line_of_shadow(shadow: bytes, expected: bytes) -> None:
    assert with_root_password(shadow, b"H", 9) == expected


@pytest.mark.parametrize(
    ("passwd", "expected"),
    [
        (b"root:x:0:0::/:/s\n", b"root:x:0:0::/:/s\n"),
        (b"root::0:0::/:/s\n", b"root:x:0:0::/:/s\n"),
        (b"a:1\nroot:$6$x:0:0::/:/s", b"a:1\nroot:x:0:0::/:/s"),
    ],
)
def test_passwd_points_to_shadow_afterwards(passwd: bytes, expected: bytes) -> None:
    assert password_in_shadow(passwd) == expected


@pytest.mark.parametrize(
    ("group", "number"),
    [
        (b"root:x:0:\nshadow:x:42:\n", 42),
        (b"shadowy:x:1:\nshadow:x:2:a,b", 2),
        (b"shadow:x\n", None),
        (b"", None),
    ],
)
def test_a_group_is_found_by_its_name(group: bytes, number: int | None) -> None:
    assert group_number(group, b"shadow") == number


def _key(name: str = "ssh-ed25519", comment: str = "me@here") -> str:
    blob = len(name).to_bytes(4) + name.encode() + bytes(range(36))
    return f"{name} {base64.b64encode(blob).decode()} {comment}"


@pytest.mark.parametrize(
    "key",
    [
        _key(),
        _key("ecdsa-sha2-nistp256"),
        _key("sk-ssh-ed25519@openssh.com"),
        _key("ssh-rsa", ""),
        f'from="10.0.0.0/8",command="echo ssh-rsa no" {_key()}',
        f"cert-authority {_key()}",
    ],
)
def test_public_keys_are_taken(key: str) -> None:
    assert checked_keys([key]) == (key.strip(),)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 %%%%",
        f"# {_key()}",
        f"{_key()}\n{_key()}",
        _key().replace("ssh-ed25519 ", "ssh-rsa "),
        "-----BEGIN OPENSSH PRIVATE KEY-----SECRET",
        "SECRETSECRET",
    ],
)
def test_invalid_public_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        checked_keys([_key(), key])
    assert "SSH key 2 " in caught.value.message
    assert "SECRET" not in caught.value.message


def test_too_many_keys_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="larger than 64 KiB"):
        checked_keys([_key(comment="c" * 1000)] * 70)


@pytest.mark.parametrize(
    ("text", "keys", "expected"),
    [
        (b"", ["a", "b"], b"a\nb\n"),
        (b"a\n", ["a", "b", "b"], b"a\nb\n"),
        (b"# no newline at the end", ["a"], b"# no newline at the end\na\n"),
        (b" a \r\n", ["a"], b" a \r\n"),
        (b"a", ["a"], b"a"),
    ],
)
def test_keys_are_added_once(text: bytes, keys: list[str], expected: bytes) -> None:
    assert with_keys(text, keys) == expected
    assert with_keys(expected, keys) == expected


@pytest.mark.parametrize("name", ["web", "WEB-1", "a.b.c", "x" * 63, "1"])
def test_host_names_are_taken(name: str) -> None:
    assert checked_hostname(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "a..b",
        "-a",
        "a-",
        "a_b",
        "a\nb",
        "x" * 64,
        "a." * 32 + "b",
        "ü",
        "a b",
        "a/b",
        "a\n",
    ],
)
def test_invalid_hostname_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="hostname"):
        checked_hostname(name)


@pytest.mark.parametrize(
    ("ranges", "problem"),
    [
        ([(0, 1000, 0)], "empty range"),
        ([(0, 1000, 10), (9, 5000, 1)], "overlapping starts"),
        ([(5, 1000, 10), (0, 5000, 6)], "overlapping starts"),
        ([(0, 1000, 10), (20, 1009, 1)], "overlapping targets"),
        ([(0, 4294967295, 1)], "last ID"),
        ([(4294967295, 0, 1)], "last ID"),
        ([(0, 4294967290, 6)], "last ID"),
        ([(1, 0, 4294967295)], "last ID"),
        ([(number, number, 1) for number in range(341)], "340"),
    ],
)
def test_invalid_maps_are_refused(ranges: list[tuple[int, int, int]], problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem) as caught:
        IdMap([IdRange(*one) for one in ranges], "uid-map")
    assert "uid-map" in caught.value.message


def test_every_id_is_mapped_once_and_the_others_stay() -> None:
    mapped = IdMap([IdRange(1000, 2000, 1), IdRange(0, 1000, 1), IdRange(5, 6, 2)], "uid-map")
    numbers = (0, 1, 5, 6, 7, 999, 1000, 1001, 2000, 4294967294)
    assert [mapped(n) for n in numbers] == [1000, 1, 6, 7, 7, 999, 2000, 1001, 2000, 4294967294]


_RANGES = st.lists(st.integers(0, 10_000), min_size=2, max_size=20, unique=True).map(
    lambda cuts: [
        IdRange(start, start + 50_000, end - start)
        for start, end in zip(sorted(cuts)[::2], sorted(cuts)[1::2], strict=False)
    ]
)


@given(_RANGES, st.integers(0, 20_000))
def test_id_map_follows_its_ranges(ranges: list[IdRange], number: int) -> None:
    expected = next(
        (one.target + number - one.start for one in ranges if 0 <= number - one.start < one.count),
        number,
    )
    assert IdMap(ranges, "gid-map")(number) == expected


_OWNERS = Owners(
    IdMap([IdRange(0, 100_000, 1000)], "uid-map"), IdMap([IdRange(0, 200_000, 1000)], "gid-map")
)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            b"security.capability",
            struct.pack("<I16sI", 0x03000001, b"m" * 16, 0),
            struct.pack("<I16sI", 0x03000001, b"m" * 16, 100_000),
        ),
        (
            b"security.capability",
            struct.pack("<I16s", 0x02000001, b"m" * 16),
            struct.pack("<I16s", 0x02000001, b"m" * 16),
        ),
        (b"security.capability", b"", b""),
        (
            b"system.posix_acl_access",
            struct.pack("<IHHIHHIHHI", 2, 1, 7, 2**32 - 1, 2, 6, 7, 8, 4, 7),
            struct.pack("<IHHIHHIHHI", 2, 1, 7, 2**32 - 1, 2, 6, 100_007, 8, 4, 200_007),
        ),
        (
            b"system.posix_acl_default",
            struct.pack("<IHHI", 2, 8, 4, 5000),
            struct.pack("<IHHI", 2, 8, 4, 5000),
        ),
        (b"system.posix_acl_access", b"odd", b"odd"),
        (b"user.capability", bytes(24), bytes(24)),
    ],
)
def test_ids_in_attributes_are_mapped(name: bytes, value: bytes, expected: bytes) -> None:
    assert _OWNERS.attribute(name, value) == expected


_CONTAINED = Customization(
    uid_map=(IdRange(0, 100_000, 1000),), gid_map=(IdRange(0, 200_000, 1000),), contained=True
).owners


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            struct.pack("<I16s", 0x02000001, b"m" * 16),
            struct.pack("<I16sI", 0x03000001, b"m" * 16, 100_000),
        ),
        (
            struct.pack("<I8s", 0x01000000, b"m" * 8),
            struct.pack("<I16sI", 0x03000000, b"m" * 8 + bytes(8), 100_000),
        ),
        (
            struct.pack("<I16sI", 0x03000001, b"m" * 16, 7),
            struct.pack("<I16sI", 0x03000001, b"m" * 16, 100_007),
        ),
    ],
)
def test_capabilities_hold_only_in_the_user_namespace_of_a_container(
    value: bytes, expected: bytes
) -> None:
    assert _CONTAINED.attribute(b"security.capability", value) == expected


def test_id_that_a_container_has_not_is_an_error() -> None:
    assert _CONTAINED.uids(999) == 100_999
    with pytest.raises(UnmappedId, match="1000") as caught:
        _CONTAINED.gids(1000)
    assert caught.value.name == "gid-map"
    acl = struct.pack("<IHHI", 2, 2, 4, 5000)
    with pytest.raises(UnmappedId, match="5000"):
        _CONTAINED.attribute(b"system.posix_acl_default", acl)


def test_a_customization_survives_its_way_to_the_worker_and_hides_its_secret() -> None:
    customization = Customization(
        root_password_hash="$6$SECRET",
        ssh_authorized_keys=(_key(),),
        hostname="web",
        uid_map=(IdRange(0, 1000, 1),),
        gid_map=(IdRange(0, 1000, 1), IdRange(5, 5, 5)),
        filesystem_size=1 << 30,
    )
    assert Customization.from_message(customization.message()) == customization
    assert "SECRET" not in repr(customization)
    assert customization
    assert not Customization()
