# SPDX-License-Identifier: LGPL-2.1-or-later
"""Content digests, as the OCI image specification writes them (descriptor.md, "Digests").

sha256 and sha512 are the two algorithms that the specification registers for use; no other is
accepted.
"""

import hashlib
import re

ALGORITHMS = ("sha256", "sha512")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


def is_digest(text: str) -> bool:
    """Return whether ``text`` is a complete digest of an accepted algorithm."""
    return _DIGEST.fullmatch(text) is not None


def hasher(digest: str) -> "hashlib._Hash":
    """Return a new hash of the algorithm of ``digest``."""
    return hashlib.new(digest.partition(":")[0], usedforsecurity=False)


def digest_of(content: bytes) -> str:
    """Return the sha256 digest of ``content``."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
