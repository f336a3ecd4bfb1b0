# SPDX-License-Identifier: LGPL-2.1-or-later
"""Details of calls in rules of the real polkitd: all options, and no secret."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.bus.daemon import virtlayerd
from tests.bus.polkit import call_as_nobody, open_directory, polkitd
from tests.support.bus_daemon import Bus, system_bus

KEY = (
    "ssh-ed25519 "
    "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA me@example.org"
)
SOURCE = "docker://registry.example/web:1"
SECRET = "hunter2"
CUSTOMIZED = (
    *("hostname", "s", "web", "root-password", "s", SECRET, "grow-filesystem", "b", "true"),
    *("ssh-authorized-keys", "as", "2", KEY, KEY, "gid-map", "a(uuu)", "1", "0", "7", "1"),
    *("uid-map", "a(uuu)", "2", "0", "100000", "1000", "1000", "5", "1"),
)
SEEN_CUSTOMIZED = {
    "hostname": "web",
    "grow-filesystem": "true",
    "ssh-authorized-keys": f"{KEY}, {KEY}",
    "uid-map": "0:100000:1000, 1000:5:1",
    "gid-map": "0:7:1",
}
CASES: Mapping[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
    "pull": (
        (
            *("Pull", "ssa{sv}", SOURCE, "machines", "7", "name", "s", "mine"),
            *("username", "s", "me", "password", "s", SECRET, "tls-verify", "b", "false"),
            *("cache", "b", "false", "size", "t", "67108864", "platform", "s", "linux/arm64"),
        ),
        {
            "source": SOURCE,
            "pool": "machines",
            "name": "mine",
            "image": "mine",
            "format": "qcow2",
            "username": "me",
            "tls-verify": "false",
            "cache": "false",
            "size": "67108864",
            "platform": "linux/arm64",
        },
    ),
    "pull with defaults": (
        ("Pull", "ssa{sv}", SOURCE, "machines", "0"),
        {"name": "web:1", "format": "qcow2", "tls-verify": "true", "cache": "true"},
    ),
    "pull of a directory": (
        (
            *("Pull", "ssa{sv}", SOURCE, "machines", "8", "format", "s", "dir"),
            *("volume", "s", "tree"),
            *(word for word in CUSTOMIZED if word not in {"grow-filesystem", "b", "true"}),
            *("cache", "b", "true"),
        ),
        {"format": "dir", "volume": "tree", "hostname": "web"},
    ),
    "volume": (
        (
            *("CreateVolume", "sssa{sv}", "machines", "web:1", "web.qcow2", "8"),
            *("size", "t", "134217728", "keep-identity", "b", "true", *CUSTOMIZED),
        ),
        {
            "pool": "machines",
            "image": "web:1",
            "volume": "web.qcow2",
            "size": "134217728",
            "keep-identity": "true",
            **SEEN_CUSTOMIZED,
        },
    ),
    "machine": (
        (
            *("CreateDomain", "sssa{sv}", "machines", "web:1", "web", "17"),
            *("memory", "t", "1073741824", "vcpus", "u", "4", "type", "s", "qemu"),
            *("publish", "a(sqqs)", "2", "", "8080", "80", "tcp", "::1", "53", "53", "udp"),
            *("kernel", "s", "kernel:6", "kernel-version", "s", "6.12"),
            *("command", "as", "2", "serve", "all", "entrypoint", "as", "1", "/web"),
            *("environment", "as", "2", f"TOKEN={SECRET}", "MODE=x", "user", "s", "7:8"),
            *("working-directory", "s", "/srv", "tty", "b", "true", "start", "b", "false"),
            *(
                "volume-size",
                "t",
                "134217728",
                "hostname",
                "s",
                "web",
                "root-password",
                "s",
                SECRET,
            ),
            *("ephemeral", "b", "true"),
        ),
        {
            "pool": "machines",
            "image": "web:1",
            "name": "web",
            "memory": "1073741824",
            "vcpus": "4",
            "type": "qemu",
            "publish": ":8080:80/tcp, [::1]:53:53/udp",
            "kernel": "kernel:6",
            "kernel-version": "6.12",
            "command": "serve, all",
            "entrypoint": "/web",
            "environment": "TOKEN, MODE",
            "user": "7:8",
            "working-directory": "/srv",
            "tty": "true",
            "interactive": "false",
            "start": "false",
            "ephemeral": "true",
            "autostart": "false",
            "volume-size": "134217728",
            "hostname": "web",
        },
    ),
    "machine of a source": (
        ("CreateDomain", "sssa{sv}", "machines", SOURCE, "", "0"),
        # Of create-domain and of pull; the name is that of the image for a pull.
        {"pool": "machines", "image": "web:1", "source": SOURCE, "memory": "1073741824"},
    ),
    "start": (("StartDomain", "sa{sv}", "web", "0"), {"name": "web"}),
    "stop": (
        ("StopDomain", "sa{sv}", "web", "1", "timeout", "u", "3"),
        {"name": "web", "timeout": "3"},
    ),
    "remove machine": (
        ("RemoveDomain", "sa{sv}", "web", "1", "force", "b", "true"),
        {"name": "web", "force": "true"},
    ),
    "inspect": (
        (
            *("Inspect", "sa{sv}", "docker://127.0.0.1:1/x", "3", "tls-verify", "b", "false"),
            *("username", "s", "me", "password", "s", SECRET),
        ),
        {"source": "docker://127.0.0.1:1/x:latest", "tls-verify": "false", "username": "me"},
    ),
    "remove": (
        ("RemoveImage", "ssa{sv}", "machines", "web:1", "0"),
        {"pool": "machines", "image": "web:1"},
    ),
    "tag": (
        ("TagImage", "sssa{sv}", "machines", "web:1", "stable", "1", "replace", "b", "true"),
        {
            "pool": "machines",
            "source": "web:1",
            "name": "stable",
            "image": "stable",
            "replace": "true",
        },
    ),
    "remove volume": (
        ("RemoveVolume", "ssa{sv}", "machines", "web.qcow2", "0"),
        {"pool": "machines", "volume": "web.qcow2"},
    ),
    "prune": (
        ("Prune", "sa{sv}", "machines", "1", "dry-run", "b", "true"),
        {"pool": "machines", "dry-run": "true"},
    ),
    "rescan": (("Rescan", "sa{sv}", "machines", "0"), {"pool": "machines"}),
    "populate": (("Populate", "a{sv}", "1", "due", "b", "true"), {"due": "true"}),
}


@pytest.fixture
def system() -> Iterator[Bus]:
    with (
        open_directory() as directory,
        system_bus(directory, others=["org.freedesktop.PolicyKit1.conf"]) as running,
    ):
        yield running


def only_with(details: Mapping[str, str]) -> str:
    """Rules that allow what has these details, and no secret in any."""
    return (
        "polkit.addRule(function (action, subject) {"
        f"var expected = {json.dumps(details)};"
        "for (var name in expected)"
        "  if (action.lookup(name) !== expected[name]) return polkit.Result.NO;"
        f'if (String(action).indexOf("{SECRET}") >= 0) return polkit.Result.NO;'
        "if (String(action).indexOf(action.id) < 0) return polkit.Result.NO;"
        "return polkit.Result.YES;"
        "});\n"
    )


@pytest.mark.parametrize("case", CASES)
async def test_rules_see_all_options_but_secrets(system: Bus, tmp_path: Path, case: str) -> None:
    call, details = CASES[case]
    async with polkitd(system, only_with(details)), virtlayerd(system, tmp_path):
        answer = await call_as_nobody(system, *call)
        # Nothing answers at port 1, and there is no such pool; but to see that, it must have been
        # allowed to look there.
        looked = ("/org/virtlayer1/job/", "127.0.0.1:1", 'pool "machines"')
        assert any(text in answer for text in looked), answer


async def test_rules_see_whose_job_is_cancelled_and_not_its_source(
    system: Bus, tmp_path: Path
) -> None:
    details = {"job": "1", "kind": "pull", "pool": "machines", "user": "0"}
    rules = only_with(details).replace(SECRET, "registry.example")
    async with polkitd(system, rules), virtlayerd(system, tmp_path) as daemon:
        await daemon.ask("Pull", "ssa{sv}", SOURCE, "machines", {})
        answer = await call_as_nobody(system, "Cancel", path="/org/virtlayer1/job/1")
        # It has been allowed, whether the job is over by then or not.
        assert "does not allow" not in answer
