# SPDX-License-Identifier: LGPL-2.1-or-later
"""The service, started by the bus, called by root, members of the group libvirt and others."""

import base64
import json
from pathlib import Path

import pytest

from tests.acceptance.conftest import PASSWORD, USER
from tests.acceptance.pools import left_by_jobs
from tests.acceptance.system import System, wait_until
from tests.support.images import directory, file, image, layer, whiteout
from tests.support.registry import Registry

MANAGER = ("org.virtlayer1", "/org/virtlayer1", "org.virtlayer1.Manager")
# The password comes over standard input.
ACCESS = ("--username", USER, "--password-stdin")
POOL = Path("/var/lib/libvirt/images")


@pytest.fixture(scope="module")
def source(registry: Registry) -> str:
    """An image of three layers in the registry."""
    content = image(
        [
            layer(directory("etc"), file("etc/base", b"base\n"), file("etc/gone", b"x" * 100_000)),
            layer(file("etc/middle", b"middle\n")),
            layer(whiteout("etc/gone"), file("etc/top", b"top\n", uid=1000, gid=1000)),
        ]
    )
    return registry.store(content, "acceptance:1")


def daemon_pid(system: System) -> str:
    return system.unit("virtlayerd.service", "MainPID")


def test_the_first_call_starts_the_service(system: System) -> None:
    system.run("systemctl", "stop", "virtlayerd.service")
    assert system.unit("virtlayerd.service", "ActiveState") == "inactive"
    version = system.run_as("alice", "busctl", "get-property", *MANAGER, "Version")
    assert version.split()[0] == "s"
    assert system.unit("virtlayerd.service", "ActiveState") == "active"
    assert system.run("virtlayerd", "--version").split() == ["virtlayerd", json.loads(version[2:])]


def test_root_pulls_from_a_registry_with_tls_and_a_password(system: System, source: str) -> None:
    command = ("virtlayer", "pull", source, *ACCESS, "--json")
    with system.monitor() as monitor:
        result = json.loads(system.run(*command, stdin=PASSWORD))
        signals = monitor.signals_until("JobFinished")
    assert (result["layers_built"], result["layers_reused"]) == (3, 0)
    assert_chain(system, result["volumes"])
    assert_signals(signals)


def assert_chain(system: System, volumes: list[str]) -> None:
    listed = system.run("virsh", "vol-list", "default")
    assert all(name in listed for name in volumes)
    top = POOL / volumes[-1]
    chain = json.loads(system.run("qemu-img", "info", "--backing-chain", "--output=json", str(top)))
    assert [Path(one["filename"]).name for one in chain] == volumes[::-1]
    for name in volumes:
        # For QEMU's group alone: a layer can be private.
        owners = system.run("stat", "--format=%a %U %G", str(POOL / name)).split()
        assert owners == ["440", "root", "libvirt-qemu"]
    assert left_by_jobs(system, str(POOL)) == []


def assert_signals(signals: list[dict[str, object]]) -> None:
    members = [str(one["member"]) for one in signals]
    assert members.index("JobAdded") < members.index("ProgressChanged")
    assert members.index("ProgressChanged") < members.index("Finished")
    values = [one["payload"]["data"] for one in signals if one["member"] == "ProgressChanged"]  # type: ignore[index]
    progress = [float(value[0]) for value in values]
    assert progress == sorted(progress)
    assert progress[-1] == 1


def test_a_second_pull_builds_nothing(system: System, source: str) -> None:
    command = ("virtlayer", "pull", source, *ACCESS, "--json")
    system.run(*command, stdin=PASSWORD)
    result = json.loads(system.run(*command, stdin=PASSWORD))
    assert (result["layers_built"], result["layers_reused"]) == (0, 3)
    assert result["bytes_downloaded"] == 0


def test_a_wrong_password_is_refused(system: System, source: str) -> None:
    command = ("virtlayer", "pull", source, "--name=refused", *ACCESS, "--json")
    ended = system.attempt(*command, stdin="wrong")
    assert ended.status != 0
    assert '"error": "RegistryAuth"' in ended.stderr


def test_polkit_refuses_another_user(system: System, source: str) -> None:
    command = ("virtlayer", "pull", source, "--name=stranger", *ACCESS, "--json")
    ended = system.attempt_as("alice", *command, stdin=PASSWORD)
    assert ended.status != 0
    assert '"error": "NotAuthorized"' in ended.stderr
    assert "stranger" not in system.run("virtlayer", "images", "--json")


def test_polkit_lets_the_group_libvirt_in(system: System, source: str) -> None:
    command = ("virtlayer", "pull", source, "--name=of-bob", *ACCESS, "--json")
    result = json.loads(system.run_as("bob", *command, stdin=PASSWORD))
    assert result["name"] == "of-bob"
    # All users may list.
    assert "of-bob" in system.run_as("alice", "virtlayer", "images", "--json")


def test_no_secret_is_left(system: System, source: str) -> None:
    command = ("virtlayer", "pull", source, "--name=secret", *ACCESS, "--json")
    system.run(*command, stdin=PASSWORD)
    assert PASSWORD not in system.journal()
    places = "/run/virtlayer /var/lib/virtlayer /var/cache/virtlayer /tmp"
    found = system.attempt("sh", "-c", f"grep --recursive --files-with-matches {PASSWORD} {places}")
    assert found.stdout == ""


def test_the_processes_end_when_idle_and_come_back(system: System) -> None:
    system.run("mkdir", "-p", "/etc/virtlayer")
    settings = "/etc/virtlayer/virtlayerd.toml"
    before = system.run("cat", settings)
    system.run("tee", settings, stdin="[service]\nidle-timeout = 1\n[jobs]\nkeep-seconds = 1\n")
    try:
        system.run("systemctl", "restart", "virtlayerd.service")
        system.run("systemctl", "stop", "virtlayer-keeper.service")
        system.run("virtlayer", "prune", "--dry-run", "default")
        first = daemon_pid(system)
        assert system.unit("virtlayer-keeper.service", "ActiveState") == "active"
        for unit in ("virtlayerd.service", "virtlayer-keeper.service"):
            wait_until_inactive(system, unit)
            assert system.unit(unit, "Result") == "success"
        # The catalog still exists after it ended.
        assert "of-bob" in system.run("virtlayer", "images", "--json")
        assert daemon_pid(system) not in {"0", first}
    finally:
        system.run("tee", settings, stdin=before)
        system.run("systemctl", "restart", "virtlayerd.service")


def wait_until_inactive(system: System, unit: str) -> None:
    wait_until(f"{unit} ends", lambda: system.unit(unit, "ActiveState") == "inactive")


def test_a_killed_daemon_is_started_again(system: System) -> None:
    system.run("virtlayer", "jobs")
    first = daemon_pid(system)
    system.run("systemctl", "kill", "--signal=KILL", "virtlayerd.service")
    wait_until("a new daemon", lambda: daemon_pid(system) not in {"0", first})
    system.run("virtlayer", "jobs")


def test_the_timer_pulls_configured_images(system: System, registry: Registry, source: str) -> None:
    timer = "virtlayer-populate.timer"
    assert system.unit(timer, "ActiveState") == "active"
    assert system.unit(timer, "UnitFileState") == "enabled"
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    credentials = "/etc/virtlayer/registry.json"
    system.run("install", "-m", "0600", "/dev/null", credentials)
    system.run("tee", credentials, stdin=json.dumps({"auths": {registry.host: {"auth": pair}}}))
    image_file = f'source = "{source}"\nname = "kept"\nauthfile = "{credentials}"\n'
    system.run("tee", "/etc/virtlayer/images.d/kept.toml", stdin=image_file)
    # The service is not root; the message says what it needs.
    refused = system.attempt("virtlayer", "populate")
    assert refused.status != 0
    assert f"chmod 640 {credentials}" in refused.stderr
    system.run("chgrp", "virtlayer", credentials)
    system.run("chmod", "640", credentials)
    # Start it now instead of waiting for an hour.
    soon = "[Timer]\nOnCalendar=\nOnActiveSec=1s\nAccuracySec=1ms\nRandomizedDelaySec=0\n"
    drop_in(system, timer, soon)
    system.run("systemctl", "restart", timer)
    wait_until("the image is there", lambda: "kept" in system.run("virtlayer", "images"))
    wait_until(
        "it is over",
        lambda: system.unit("virtlayer-populate.service", "ActiveState") == "inactive",
    )
    assert system.unit("virtlayer-populate.service", "Result") == "success"


def drop_in(system: System, unit: str, content: str) -> None:
    """Change a unit as an administrator would."""
    directory = f"/etc/systemd/system/{unit}.d"
    system.run("mkdir", "--parents", directory)
    system.run("tee", f"{directory}/acceptance.conf", stdin=content)
    system.run("systemctl", "daemon-reload")


def test_a_user_pulls_with_the_daemon_of_the_session(system: System, source: str) -> None:
    bus = Path(f"/run/user/{system.uid('alice')}/bus")
    wait_until("alice's bus", lambda: system.attempt("test", "-S", str(bus)).status == 0)
    pool = "/home/alice/pool"
    virsh = "virsh --quiet --connect=qemu:///session"
    define = f"mkdir {pool} && {virsh} pool-define-as mine dir --target={pool}"
    system.run_as("alice", "sh", "-c", f"{define} && {virsh} pool-autostart mine")
    # virsh started one, which ended with the unit that virsh ran in.
    wait_until("alice's libvirtd ends", lambda: alices_libvirtd(system) == [])

    command = ("virtlayer", "--user", "pull", source, "mine", *ACCESS, "--json")
    result = json.loads(system.run_as("alice", *command, stdin=PASSWORD))
    assert result["layers_built"] == 3
    for name in result["volumes"]:
        assert system.run("stat", "--format=%U", f"{pool}/{name}").strip() == "alice"

    # Her machines are children of a libvirtd that the daemon started: it lives on, and may do what
    # any libvirtd of hers may.
    [pid] = alices_libvirtd(system)
    [manager] = system.run("pgrep", "--euid", "alice", "--exact", "systemd").split()
    assert restrictions(system, pid) == restrictions(system, manager)
    system.run_as("alice", "systemctl", "--user", "stop", "virtlayerd.service")
    assert alices_libvirtd(system) == [pid]
    assert system.attempt("pgrep", "--euid", "alice", "qemu-storage|skopeo|python").stdout == ""


def restrictions(system: System, pid: str) -> str:
    return system.run("grep", "-E", "^(NoNewPrivs|Seccomp.*|CapBnd):", f"/proc/{pid}/status")


def alices_libvirtd(system: System) -> list[str]:
    return system.attempt("pgrep", "--euid", "alice", "libvirtd").stdout.split()


def test_a_pool_in_another_directory_requires_a_drop_in(system: System, source: str) -> None:
    system.run("virsh", "--quiet", "pool-create-as", "data", "dir", "--target=/data", "--build")
    command = ("virtlayer", "pull", source, "data", *ACCESS, "--json")
    ended = system.attempt(*command, stdin=PASSWORD)
    assert ended.status != 0
    message = json.loads(ended.stderr.splitlines()[-1])["message"]
    assert '"systemctl edit virtlayer-keeper.service" and add "ReadWritePaths=/data"' in message
    drop_in(system, "virtlayer-keeper.service", "[Service]\nReadWritePaths=/data\n")
    system.run("systemctl", "restart", "virtlayer-keeper.service")
    assert json.loads(system.run(*command, stdin=PASSWORD))["layers_built"] == 3
