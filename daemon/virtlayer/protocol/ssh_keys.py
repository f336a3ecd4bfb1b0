# SPDX-License-Identifier: LGPL-2.1-or-later
"""Public keys of SSH, a line each (sshd(8), "AUTHORIZED_KEYS FILE FORMAT")."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable

from virtlayer.errors import InvalidArgument
from virtlayer.sizes import human_size

BYTES_LIMIT = 64 * 1024
"""Of all keys for one volume together; they travel in one message."""

_KEY = re.compile(
    r"(?:^|[ \t])"
    r"((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[A-Za-z0-9@.-]+)[ \t]+([A-Za-z0-9+/]+={0,2})(?=[ \t]|$)"
)


def checked_keys(keys: Iterable[str]) -> tuple[str, ...]:
    """The keys without blanks around them.

    Raises:
        InvalidArgument: One is not a valid public key, or there are too many. The message does not
            show it, because it may be a private one.
    """
    checked = tuple(key.strip() for key in keys)
    if sum(len(key) + 1 for key in checked) > BYTES_LIMIT:
        raise InvalidArgument(
            f"The SSH keys are larger than {human_size(BYTES_LIMIT)} together. Use fewer, or a "
            'certificate authority ("cert-authority" in sshd(8)).'
        )
    for number, key in enumerate(checked, start=1):
        if not _is_key(key):
            raise InvalidArgument(
                f"SSH key {number} is not a valid public key. A key is one line as in a .pub file, "
                'for example "ssh-ed25519 AAAA... comment".'
            )
    return checked


def has_options(key: str) -> bool:
    """Whether options such as ``from=`` or ``command=`` restrict the use of a key.

    Args:
        key: From ``checked_keys``.
    """
    match = _KEY.search(key)
    return match is not None and match.start() > 0


def _is_key(line: str) -> bool:
    match = _KEY.search(line)
    if match is None or not line.isprintable() or line.startswith("#"):
        return False
    try:
        blob = base64.b64decode(match[2], validate=True)
    except binascii.Error:
        return False
    # RFC 4253, section 6.6: a key begins with the length and name of its type.
    name = match[1].encode()
    return blob[:4] == len(name).to_bytes(4) and blob[4 : 4 + len(name)] == name


def with_keys(text: bytes, keys: Iterable[str]) -> bytes:
    """Return an authorized_keys with these keys added; existing keys are not added again.

    Args:
        text: Its content so far, or nothing.
        keys: From ``checked_keys``.
    """
    there = {line.strip() for line in text.split(b"\n")}
    # A dictionary keeps the order, and removes duplicates.
    added = [key for key in dict.fromkeys(map(str.encode, keys)) if key not in there]
    if not added:
        return text
    separator = b"" if not text or text.endswith(b"\n") else b"\n"
    return text + separator + b"\n".join(added) + b"\n"
