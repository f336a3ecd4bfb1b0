# SPDX-License-Identifier: LGPL-2.1-or-later
"""The settings: what is taken, and what is refused with its place."""

from pathlib import Path

import pytest

from virtlayer.errors import InvalidArgument
from virtlayer.settings import Settings, load_settings
from virtlayer.sizes import MIB, TIB


def test_no_file_is_every_default(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "none.toml") == Settings()


@pytest.mark.parametrize("depth", [1, 24])
def test_the_limits_themselves_are_taken(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "virtlayerd.toml"
    path.write_text(f"[storage]\ndepth-limit = {depth}\nvirtual-size = {64 * MIB}\n")
    settings = load_settings(path)
    assert (settings.storage.depth_limit, settings.storage.virtual_size) == (depth, 64 * MIB)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("depth-limit = 0", "from 1 to 24"),
        ("depth-limit = 25", "from 1 to 24"),
        ("depth-limit = true", "whole number"),
        (f"virtual-size = {63 * MIB}", "from 64 MiB to 63 TiB"),
        (f"virtual-size = {64 * MIB + 512}", "multiple of 1 MiB"),
        ("virtual-size = 0", "storage.virtual-size: 0 B"),
        (f"virtual-size = {64 * TIB}", "from 64 MiB to 63 TiB"),
        (f"virtual-size = {2**63}", "from 64 MiB to 63 TiB"),
        ("virtual-size = -1", "0 or more"),
        ("depth_limit = 3", 'unknown key "storage.depth_limit". Known: depth-limit'),
        ("dept-limit = 3", 'unknown key "storage.dept-limit"'),
    ],
)
def test_invalid_settings_are_refused_with_their_line(
    tmp_path: Path, line: str, problem: str
) -> None:
    path = tmp_path / "virtlayerd.toml"
    path.write_text(f"# a comment\n[storage]\n\n{line}\n[jobs]\nrunning-limit = 2\n")
    with pytest.raises(InvalidArgument) as caught:
        load_settings(path)
    assert str(caught.value).startswith(f"{path}, line 4: ")
    assert problem in str(caught.value)


def test_a_service_that_runs_no_job_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "virtlayerd.toml"
    path.write_text("[jobs]\nrunning-limit = 0\n")
    with pytest.raises(InvalidArgument, match=r"line 2: .*1 or more"):
        load_settings(path)
