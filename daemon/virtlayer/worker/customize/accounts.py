# SPDX-License-Identifier: LGPL-2.1-or-later
"""The account of root in the texts of /etc/passwd, /etc/shadow and /etc/group.

The formats are those of passwd(5), shadow(5) and group(5). A line is root's if its first field is
``root`` to the letter. All other lines stay as they are, byte by byte, also invalid ones.
"""

from __future__ import annotations

from dataclasses import dataclass

_NAME = b"root"
_IN_SHADOW = b"x"
"""The password field that sends the reader to /etc/shadow."""
_PASSWD_FIELDS = 7
_SHADOW_FIELDS = 9


@dataclass(frozen=True, slots=True)
class Account:
    """Root's entry in /etc/passwd."""

    uid: int
    gid: int
    home: bytes


def root_account(passwd: bytes) -> Account | None:
    """The account of root; None where there is none, or its line is damaged.

    Args:
        passwd: The content of /etc/passwd.
    """
    line = _find(passwd)
    if line is None:
        return None
    fields = passwd.split(b"\n")[line].split(b":")
    if len(fields) < _PASSWD_FIELDS or not (fields[2].isdigit() and fields[3].isdigit()):
        return None
    return Account(int(fields[2]), int(fields[3]), fields[5] or b"/")


def password_in_shadow(passwd: bytes) -> bytes:
    """/etc/passwd with root's password looked for in /etc/shadow.

    Args:
        passwd: The content of /etc/passwd, which has root.
    """
    line = _find(passwd)
    assert line is not None, "asked for only where there is root"
    lines = passwd.split(b"\n")
    fields = lines[line].split(b":")
    fields[1] = _IN_SHADOW
    lines[line] = b":".join(fields)
    return b"\n".join(lines)


def with_root_password(shadow: bytes, hashed: bytes, day: int) -> bytes:
    """Return /etc/shadow with another password for root; an existing one or a lock is replaced.

    Args:
        shadow: The content of /etc/shadow, or nothing.
        hashed: As crypt(5) has it.
        day: The day of the change, in days since 1970.
    """
    line = _find(shadow)
    if line is None:
        # Before all others: lines after a "+" may never be read.
        return b"%b:%b:%d:0:99999:7:::\n" % (_NAME, hashed, day) + shadow
    lines = shadow.split(b"\n")
    fields = lines[line].split(b":")
    fields += [b""] * (_SHADOW_FIELDS - len(fields))
    fields[1:3] = [hashed, b"%d" % day]
    lines[line] = b":".join(fields)
    return b"\n".join(lines)


def group_number(group: bytes, name: bytes) -> int | None:
    """The gid of a group; None where there is none of that name.

    Args:
        group: The content of /etc/group.
        name: The group.
    """
    for line in group.split(b"\n"):
        fields = line.split(b":")
        if fields[0] == name and len(fields) > 2 and fields[2].isdigit():
            return int(fields[2])
    return None


def _find(text: bytes) -> int | None:
    """The first line of root, which is the one that counts."""
    for number, line in enumerate(text.split(b"\n")):
        if line.startswith(_NAME + b":"):
            return number
    return None
