# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes ssh host keys, as ``ssh-keygen -A`` does, but without RSA.

A private key is made where it is written to the volume. No other process has it, and no other file.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from virtlayer.worker.customize.fresh_identity import HostKey


def new_host_keys() -> tuple[HostKey, ...]:
    """Make a key of each kind that a client today can need."""
    return (
        _host_key("ed25519", Ed25519PrivateKey.generate()),
        _host_key("ecdsa", generate_private_key(SECP256R1())),
    )


def _host_key(kind: str, key: Ed25519PrivateKey | EllipticCurvePrivateKey) -> HostKey:
    return HostKey(
        kind,
        key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b"\n",
    )


# The library loads parts of itself at their first use, which is too late in the sandbox.
new_host_keys()
