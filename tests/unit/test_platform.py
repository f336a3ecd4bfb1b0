# SPDX-License-Identifier: LGPL-2.1-or-later
"""Platforms."""

import pytest

from virtlayer.errors import InvalidArgument
from virtlayer.service.source.platform import Platform, parse_platform


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/arm64/v8", Platform("linux", "arm64", "v8")),
        ("Linux/x86_64", Platform("linux", "amd64")),
        ("linux/aarch64", Platform("linux", "arm64")),
        ("linux/armv7l", Platform("linux", "arm", "v7")),
        ("linux/riscv64", Platform("linux", "riscv64")),
    ],
)
def test_forms(text: str, platform: Platform) -> None:
    assert parse_platform(text) == platform
    assert parse_platform(str(platform)) == platform


@pytest.mark.parametrize(
    "text", ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd 64", "linux/=x", "a/b\n"]
)
def test_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid platform"):
        parse_platform(text)


def test_a_variant_counts_only_where_both_have_one() -> None:
    plain, seven, six = (Platform("linux", "arm", variant) for variant in (None, "v7", "v6"))
    assert plain.admits(seven)
    assert seven.admits(plain)
    assert not seven.admits(six)
    assert not plain.admits(Platform("linux", "arm64"))
