# SPDX-License-Identifier: LGPL-2.1-or-later
"""Extended attributes, access control lists and capabilities."""

import base64
import struct

from tests.support.archives import (
    acl,
    archive,
    directory,
    entry,
    pax,
    symlink,
)
from tests.worker.cases import Case, D, F, L, fails, tree
from virtlayer.errors import LayerTooLarge, MalformedLayer

_ENOTSUP = "setxattr(2) says ENOTSUP here, which umoci ignores"
_EMPTY = "Go's archive/tar takes an empty value for none"
_LIBARCHIVE = "Go's archive/tar does not know libarchive's attributes"

# user::rw-, user:1234:r--, group::r--, mask::r--, other::--- (acl(5)).
_USER, _NAMED, _GROUP, _MASK, _OTHER = (
    (1, 6, 2**32 - 1),
    (2, 4, 1234),
    (4, 4, 2**32 - 1),
    (16, 4, 2**32 - 1),
    (32, 0, 2**32 - 1),
)
_ACL = acl(_USER, _NAMED, _GROUP, _MASK, _OTHER)
_CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
_CAPABILITY_3 = struct.pack("<IIIIII", 0x03000001, 1 << 13, 0, 0, 0, 1000)
_ACCESS, _DEFAULT, _CAPS = (
    "system.posix_acl_access",
    "system.posix_acl_default",
    "security.capability",
)


def _with(name: str, value: bytes, *, of: bytes | None = None) -> bytes:
    return archive(pax({f"SCHILY.xattr.{name}": value}) + (entry("a") if of is None else of))


def _libarchive(name: str, value: bytes) -> tuple[str, bytes]:
    return f"LIBARCHIVE.xattr.{name}", value


def _bad_acl(name: str, value: bytes, umoci: str | None = "") -> Case:
    archives = _with(_ACCESS, value)
    return fails(f"ACL {name}", archives, MalformedLayer, '"a".*not an access control', umoci=umoci)


_ATTRIBUTES = [
    tree(
        "attributes",
        archive(pax({"SCHILY.xattr.user.a": "1", "SCHILY.xattr.user.b": b"\0=\n\xff"}), entry("a")),
        {"a": F()(xattrs={"user.a": b"1", "user.b": b"\0=\n\xff"})},
    ),
    tree(
        "of a directory",
        _with("user.a", b"1", of=directory("a")),
        {"a": D(xattrs={"user.a": b"1"})},
    ),
    tree(
        "of the root", _with("user.a", b"1", of=directory("./")), {"": D(xattrs={"user.a": b"1"})}
    ),
    tree("empty value", _with("user.a", b""), {"a": F()(xattrs={"user.a": b""})}, umoci=_EMPTY),
    tree(
        "all name spaces",
        archive(
            pax({f"SCHILY.xattr.{name}.a": "1" for name in ("user", "trusted", "security", "gnu")}),
            entry("a"),
        ),
        {"a": F()(xattrs={"user.a": b"1", "trusted.a": b"1", "security.a": b"1", "gnu.a": b"1"})},
    ),
    tree(
        "libarchive's",
        archive(
            pax(
                [
                    _libarchive("user.a", base64.b64encode(b"\0\xff")),
                    _libarchive("user.b%3D", b"MQ"),
                ]
            ),
            entry("a"),
        ),
        {"a": F()(xattrs={"user.a": b"\0\xff", "user.b=": b"1"})},
        umoci=_LIBARCHIVE,
    ),
    tree(
        "star's and libarchive's",
        archive(pax([_libarchive("user.a", b"Mg"), ("SCHILY.xattr.user.a", b"1")]), entry("a")),
        {"a": F()(xattrs={"user.a": b"1"})},
    ),
    tree(
        "unknown name spaces are left out",
        archive(
            pax(
                {
                    f"SCHILY.xattr.{name}": "1"
                    for name in ("system.nfs4_acl", "system.data", "foo", "user")
                }
            ),
            entry("a"),
        ),
        {"a": F()(xattrs={})},
    ),
    tree(
        "a symlink has no user attributes",
        _with("user.a", b"1", of=symlink("a", "x")),
        {"a": L("x")(xattrs={})},
        umoci="umoci fails with what setxattr(2) says",
    ),
    tree(
        "a symlink has trusted ones",
        _with("trusted.a", b"1", of=symlink("a", "x")),
        {"a": L("x")(xattrs={"trusted.a": b"1"})},
    ),
    tree(
        "beside the inode and in a block",
        archive(
            pax({"SCHILY.xattr.user.a": "1" * 40, "SCHILY.xattr.user.b": "2" * 3000}), entry("a")
        ),
        {"a": F()(xattrs={"user.a": b"1" * 40, "user.b": b"2" * 3000})},
    ),
    tree(
        "name of 255 bytes",
        _with("user." + "n" * 250, b"1"),
        {"a": F()(xattrs={"user." + "n" * 250: b"1"})},
    ),
    tree(
        "replaced with its directory",
        (_with("user.a", b"1" * 2000, of=directory("a")), _with("user.b", b"2", of=directory("a"))),
        {"a": D(xattrs={"user.b": b"2"})},
    ),
    tree(
        "gone with its directory's",
        (_with("user.a", b"1" * 2000, of=directory("a")), archive(directory("a"))),
        {"a": D(xattrs={})},
    ),
    tree(
        "ACL",
        _with(_ACCESS, _ACL, of=entry("a", mode=0o640)),
        {"a": F()(mode=0o640, xattrs={_ACCESS: _ACL})},
    ),
    tree(
        "default ACL", _with(_DEFAULT, _ACL, of=directory("a")), {"a": D(xattrs={_DEFAULT: _ACL})}
    ),
    tree(
        "default ACL of a file",
        _with(_DEFAULT, _ACL),
        {"a": F()(xattrs={})},
        umoci="umoci fails with what setxattr(2) says",
    ),
    tree("capability", _with(_CAPS, _CAPABILITY), {"a": F()(xattrs={_CAPS: _CAPABILITY})}),
    tree(
        "capability of a user namespace",
        _with(_CAPS, _CAPABILITY_3),
        {"a": F()(xattrs={_CAPS: _CAPABILITY_3})},
    ),
    fails("capability that is none", _with(_CAPS, b"123"), MalformedLayer, '"a".*capabilities'),
    fails(
        "capability of another size",
        _with(_CAPS, _CAPABILITY + b"1234"),
        MalformedLayer,
        '"a".*capabilities',
    ),
    _bad_acl("of text", b"user::rw-", _ENOTSUP),
    _bad_acl("of another version", b"\1" + _ACL[1:], _ENOTSUP),
    _bad_acl("cut off", _ACL[:-1]),
    _bad_acl("without its mask", acl(_USER, _NAMED, _GROUP, _OTHER)),
    _bad_acl("out of order", acl(_NAMED, _USER, _GROUP, _MASK, _OTHER)),
    _bad_acl("without others", acl(_USER, _GROUP)),
    _bad_acl("with an unknown tag", acl(_USER, _GROUP, _OTHER, (64, 0, 0))),
    _bad_acl("with more permissions", acl((1, 15, 0), _GROUP, _OTHER)),
    _bad_acl("of nobody", acl(_USER, (2, 4, 2**32 - 1), _GROUP, _MASK, _OTHER)),
    fails(
        "no name",
        _with("user.", b"1"),
        MalformedLayer,
        '"a".*name of the extended attribute .* is invalid',
    ),
    fails(
        "no name and no name space",
        _with("", b"1"),
        MalformedLayer,
        '"a".*name of the extended attribute .* is invalid',
    ),
    fails(
        "NUL in the name of an unknown name space",
        archive(pax({"SCHILY.xattr.foo\0bar": "1"}), entry("a")),
        MalformedLayer,
        r'"SCHILY.xattr.foo\\x00bar".*NUL',
    ),
    fails(
        "NUL in a name of libarchive's",
        archive(pax([_libarchive("foo%00bar", b"MQ")]), entry("a")),
        MalformedLayer,
        r'"a".*"foo\\x00bar"',
        umoci=_LIBARCHIVE,
    ),
    fails(
        "NUL in a name",
        archive(pax({"SCHILY.xattr.user.a\0b": "1"}), entry("a")),
        MalformedLayer,
        r'"SCHILY.xattr.user.a\\x00b".*NUL',
    ),
    fails("name of 256 bytes", _with("user." + "n" * 251, b"1"), LayerTooLarge, '"a".*256 bytes'),
    fails(
        "more than a block",
        _with("user.a", b"1" * 4100),
        LayerTooLarge,
        '"a".*do not fit',
        umoci=None,
    ),
    fails(
        "many that are more than a block",
        archive(pax({f"SCHILY.xattr.user.{n:050}": "1" for n in range(60)}), entry("a")),
        LayerTooLarge,
        '"a".*do not fit',
        umoci=None,
    ),
    fails(
        "as many as fit into a header",
        archive(pax({f"SCHILY.xattr.user.{n}": "1" for n in range(30_000)}), entry("a")),
        LayerTooLarge,
        '"a".*do not fit',
    ),
    fails(
        "value of more than 64 KiB",
        _with("user.a", b"1" * 65537),
        LayerTooLarge,
        '"a".*65537 bytes',
    ),
    fails(
        "libarchive's that is not base 64",
        archive(pax([_libarchive("user.a", b"*")]), entry("a")),
        MalformedLayer,
        '"a".*base64',
        umoci=_LIBARCHIVE,
    ),
]


CASES = _ATTRIBUTES
