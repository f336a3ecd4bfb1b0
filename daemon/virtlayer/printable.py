# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes untrusted strings safe for messages, logs and terminals."""


def printable(text: str) -> str:
    """Text with everything escaped that a terminal or a log would interpret.

    Names and messages come from registries and archives, and one may hold an escape sequence.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    # Not by a codec: Python would look for its module, and the layer worker has no files.
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
