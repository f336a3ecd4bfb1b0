# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hashes passwords for /etc/shadow with the system's libcrypt (crypt(3), crypt(5)).

Python has had no binding of its own since 3.13. The clear text stays in this process: the layer
worker and the volume get the hash only.
"""

import ctypes

from virtlayer.errors import Internal, InvalidArgument

_METHOD, _ROUNDS = b"$6$", 100_000
"""sha512crypt and not yescrypt, which libcrypt would choose: the guest must know the method, and
musl (Alpine) and old glibc do not know yescrypt. Twenty times its usual rounds cost a login some
25 ms."""
_LIMIT = 511
"""Bytes that libcrypt takes (CRYPT_MAX_PASSPHRASE_SIZE, with the NUL)."""
_FAILURE = b"*"
"""The prefix of a result that is not a hash (crypt(3))."""


def hash_password(password: str) -> str:
    """Hash a password, with a new salt.

    Raises:
        InvalidArgument: It is not a valid password; the message does not show it.
        Internal: libcrypt is not installed, or does not support the method.
    """
    phrase = _checked(password)
    try:
        library = ctypes.CDLL("libcrypt.so.1")
    except OSError as error:
        raise Internal(f"The system's libcrypt cannot be loaded: {error}.") from error
    hashed = _crypt(library, phrase, _salt(library))
    if not hashed or hashed.startswith(_FAILURE):
        raise Internal("The system's libcrypt cannot hash with sha512crypt.")
    return hashed.decode("ascii")


def _checked(password: str) -> bytes:
    phrase = password.encode(errors="replace")
    if not phrase:
        raise InvalidArgument("The password for root is empty, so everybody could log in.")
    if len(phrase) > _LIMIT:
        raise InvalidArgument(f"The password for root is longer than {_LIMIT} bytes.")
    if any(byte < 0x20 or byte == 0x7F for byte in phrase):
        raise InvalidArgument(
            "The password for root has a control character, which cannot be typed at a login "
            "prompt."
        )
    return phrase


def _salt(library: ctypes.CDLL) -> bytes:
    generate = library.crypt_gensalt_rn
    generate.argtypes = [
        ctypes.c_char_p,
        ctypes.c_ulong,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
    ]
    generate.restype = ctypes.c_char_p
    output = ctypes.create_string_buffer(256)
    # Without random bytes of ours, libcrypt uses those of the kernel.
    return generate(_METHOD, _ROUNDS, None, 0, output, len(output)) or b""


def _crypt(library: ctypes.CDLL, phrase: bytes, salt: bytes) -> bytes:
    crypt = library.crypt_ra
    crypt.argtypes = [
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.POINTER(ctypes.c_void_p),
        ctypes.POINTER(ctypes.c_int),
    ]
    crypt.restype = ctypes.c_char_p
    data, size = ctypes.c_void_p(), ctypes.c_int()
    try:
        return crypt(phrase, salt, ctypes.byref(data), ctypes.byref(size)) or b""
    finally:
        if data.value is not None:
            ctypes.memset(data, 0, size.value)  # it contains the password
            _free(data)


def _free(memory: ctypes.c_void_p) -> None:
    free = ctypes.CDLL(None).free
    free.argtypes = [ctypes.c_void_p]
    free.restype = None
    free(memory)
