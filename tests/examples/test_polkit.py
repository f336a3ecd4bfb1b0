# SPDX-License-Identifier: LGPL-2.1-or-later
"""The example of a polkit rule lets its group do what it says, and no more."""

import grp
from pathlib import Path

from tests.bus.daemon import virtlayerd
from tests.bus.polkit import NOBODY, call_as_nobody, open_directory, polkitd
from tests.examples.place import EXAMPLES
from tests.support.bus_daemon import system_bus

_GIVEN, _OTHER = "docker://registry.example/web:1", "docker://elsewhere.example/web:1"
_STARTED = "/org/virtlayer1/job/"


async def test_operators_pull_from_one_registry_into_one_pool(tmp_path: Path) -> None:
    rules = (EXAMPLES / "polkit-operators.rules").read_text(encoding="utf-8")
    group = grp.getgrgid(NOBODY.pw_gid).gr_name
    with (
        open_directory() as directory,
        system_bus(directory, others=["org.freedesktop.PolicyKit1.conf"]) as bus,
    ):
        async with (
            polkitd(bus, rules.replace("operators", group)),
            virtlayerd(bus, tmp_path),
        ):

            async def pull(source: str, pool: str) -> str:
                return await call_as_nobody(bus, "Pull", "ssa{sv}", source, pool, "0")

            assert _STARTED in await pull(_GIVEN, "machines")
            assert "does not allow org.virtlayer1.pull" in await pull(_GIVEN, "default")
            assert "does not allow org.virtlayer1.pull" in await pull(_OTHER, "machines")
            without_tls = ("ssa{sv}", _GIVEN, "machines", "1", "tls-verify", "b", "false")
            assert "does not allow" in await call_as_nobody(bus, "Pull", *without_tls)
            volume = ("sssa{sv}", "machines", "web:1", "web.qcow2", "0")
            assert _STARTED in await call_as_nobody(bus, "CreateVolume", *volume)
            removal = ("ssa{sv}", "machines", "web:1", "0")
            assert "does not allow" in await call_as_nobody(bus, "RemoveImage", *removal)
