# SPDX-License-Identifier: LGPL-2.1-or-later
"""Errors about layers, and untrusted names in them."""

from virtlayer.printable import printable

_SHOWN = 300


class LayerProblem(Exception):
    """The layer cannot be applied; only the subclasses are raised.

    Args:
        problem: What is wrong, as the end of a sentence.
        name: The entry that it is about; None where its name is not known (yet).
    """

    def __init__(self, problem: str, name: bytes | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.name = name

    def about(self, name: bytes) -> "LayerProblem":
        """The same, about this entry if about none so far."""
        if self.name is None:
            self.name = name
        return self


class BadArchive(LayerProblem):
    """The archive breaks its format, or asks for something that is invalid."""


class TooLarge(LayerProblem):
    """The archive goes beyond a limit of the settings, of Linux or of ext4."""


class BrokenStream(Exception):
    """The compressed bytes of a layer are not what they should be, or end too early."""


class UnsupportedCompression(Exception):
    """The compression of the layer is recognized, but not supported.

    Args:
        name: Of the compression.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class StreamTooLong(Exception):
    """The stream unpacks to more bytes than it may."""


def quoted(name: bytes) -> str:
    """A name for a message: of bounded length, without control characters."""
    text = name[: 4 * _SHOWN].decode(errors="backslashreplace")
    if len(text) > _SHOWN:
        tail = name[-2 * _SHOWN :].decode(errors="backslashreplace")
        text = f"{text[: _SHOWN // 2]}...{tail[-_SHOWN // 2 :]}"
    return f'"{printable(text)}"'
