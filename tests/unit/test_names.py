# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names of pools, volumes, images and domains: which are valid, and how an error shows others."""

from collections.abc import Callable

import pytest

from virtlayer.errors import InvalidArgument
from virtlayer.protocol.names import (
    parse_domain_name,
    parse_image_name,
    parse_pool_name,
    parse_volume_name,
)

KINDS = {
    "pool": parse_pool_name,
    "volume": parse_volume_name,
    "image": parse_image_name,
    "domain": parse_domain_name,
}
every_kind = pytest.mark.parametrize(("kind", "parse"), KINDS.items())


@every_kind
@pytest.mark.parametrize(
    "name", ["a", "my pool", "ü", "ü" * 127, "x" * 255, "-x", "a..b", ".x", "$(x)"]
)
def test_valid_names_are_unchanged(kind: str, parse: Callable[[str], str], name: str) -> None:
    assert parse(name) == name, kind


@every_kind
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", ""),
        (" ", " "),
        (".", "."),
        ("..", ".."),
        ("a\nJob 7: done", r"a\x0aJob 7: done"),
        ("a\0b", r"a\x00b"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\x7f", r"a\x7f"),
        ("a\x85b", r"a\x85b"),
        ("a\u2028b", r"a\u2028b"),
        ("a\u2029b", r"a\u2029b"),
        ("a\u202eb", r"a\u202eb"),
        ("a\ud800", r"a\ud800"),
        ("x" * 256, "x" * 80 + "..."),
        ("ü" * 128, "ü" * 80 + "..."),
    ],
)
def test_an_invalid_name_is_refused_and_shown_escaped(
    kind: str, parse: Callable[[str], str], name: str, shown: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(name)
    message = caught.value.message
    assert message.startswith(f'Invalid {kind} name "{shown}": ')
    assert "at most 255 bytes" in message
    assert message.isprintable()


@every_kind
@pytest.mark.parametrize("name", ["a/b", "/etc/passwd", "../x"])
def test_only_names_of_images_have_slashes(
    kind: str, parse: Callable[[str], str], name: str
) -> None:
    if kind == "image":
        assert parse(name) == name
        return
    with pytest.raises(InvalidArgument, match="has no slash"):
        parse(name)
