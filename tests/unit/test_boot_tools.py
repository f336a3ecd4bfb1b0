# SPDX-License-Identifier: LGPL-2.1-or-later
"""The programs of our initrd are static: a machine has no libraries before it mounts its disk."""

from pathlib import Path

import pytest

from virtlayer import boot_tools
from virtlayer.errors import Unsupported


def test_static_busybox_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    dynamic, static = Path("/usr/bin/env"), Path("/usr/bin/busybox")
    monkeypatch.setattr(boot_tools, "_BUSYBOX", (Path("/nonexistent"), dynamic, static))
    assert boot_tools.busybox() == static


@pytest.mark.parametrize("program", ["/usr/bin/env", "/etc/passwd", "/nonexistent"])
def test_other_programs_are_refused(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(boot_tools, "_BUSYBOX", (Path(program),))
    with pytest.raises(Unsupported, match="Install the package busybox-static"):
        boot_tools.busybox()


def test_our_init_is_static() -> None:
    assert boot_tools._is_static(boot_tools.INIT)
