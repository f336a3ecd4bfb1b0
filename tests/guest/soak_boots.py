# SPDX-License-Identifier: LGPL-2.1-or-later
"""More machines that boot our init; `make soak` runs them, because each takes some seconds."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.guest import Guest, Output, boot, busybox_tree, ext4_of, parse_records
from virtlayer.protocol.guest_config import GuestConfig
from virtlayer.protocol.streams import CONTENT_LIMIT, RecordKind

_TRUE = GuestConfig(arguments=("true",))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return ext4_of(busybox_tree(tmp_path), tmp_path)


def _run(directory: Path, root: Path | None, config: GuestConfig | bytes | None) -> Output:
    with boot(directory, root, config) as guest:
        return guest.wait_until_off()


def _is_clean(root: Path) -> bool:
    """Whether the file system was unmounted, or remounted read-only: no journal to replay."""
    header = subprocess.run(["dumpe2fs", "-h", root], capture_output=True, text=True, check=True)
    return "needs_recovery" not in header.stdout


def test_machine_without_configuration_powers_off_at_once(root: Path, tmp_path: Path) -> None:
    assert _run(tmp_path, root, None).records == ()


def test_machine_without_root_disk_reports_it(tmp_path: Path) -> None:
    output = _run(tmp_path, None, _TRUE)
    assert (output.status, output.failure) == (125, "The machine has no disk with the image.")


@pytest.mark.parametrize("content", [b"\0" * 512, b"VLCONF1\n" + b"\xff" * 504, bytes(9 << 20)])
def test_machine_with_damaged_configuration_reports_it(
    root: Path, tmp_path: Path, content: bytes
) -> None:
    output = _run(tmp_path, root, content)
    assert (output.status, "configuration" in output.failure) == (125, True)


def test_disk_without_file_system_is_reported(tmp_path: Path) -> None:
    disk = tmp_path / "root.img"
    disk.write_bytes(b"\xff" * (1 << 20))
    output = _run(tmp_path, disk, _TRUE)
    assert (output.status, "Cannot mount the volume" in output.failure) == (125, True)


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_image_whose_mount_point_is_a_link_is_refused(tmp_path: Path, name: str) -> None:
    tree = busybox_tree(tmp_path)
    (tree / name).symlink_to("etc")
    output = _run(tmp_path, ext4_of(tree, tmp_path), _TRUE)
    assert output.failure == f"Cannot use /{name} of the image: Not a directory."
    assert output.status == 125


def test_image_with_one_program_boots_and_is_unmounted(tmp_path: Path) -> None:
    tree = tmp_path / "scratch"
    tree.mkdir()
    shutil.copy("/bin/busybox", tree)
    root = ext4_of(tree, tmp_path)
    script = "echo text >/new; /busybox ls -d /proc/1 /sys/block /dev/null /dev/pts/ptmx"
    command = ("/busybox", "sh", "-c", script)
    output = _run(tmp_path, root, GuestConfig(arguments=command))
    assert output.stdout == "/dev/null\n/dev/pts/ptmx\n/proc/1\n/sys/block\n"
    assert output.status == 0
    assert _is_clean(root)


def test_own_init_of_the_image_becomes_process_1(tmp_path: Path) -> None:
    tree = busybox_tree(tmp_path)
    (tree / "sbin").mkdir()
    (tree / "sbin/init").write_text(
        "#!/bin/sh\n"
        'echo "process $$ of $0 $1, given: $GIVEN, $TERM"\n'
        "ls -1d /proc/1 /sys/block /dev/null\n"
        "poweroff -f\n"
    )
    (tree / "sbin/init").chmod(0o755)
    config = GuestConfig(
        arguments=("/sbin/init", "argument"), environment=("GIVEN=a value",), is_init=True
    )
    with boot(tmp_path, ext4_of(tree, tmp_path), config) as guest:
        output = guest.wait_until_off()
        console = guest.console.replace("\r", "")
    assert "process 1 of /sbin/init argument, given: a value, linux\n" in console
    assert "/dev/null\n/proc/1\n/sys/block\n" in console
    assert [record.kind for record in output.records if record.content or record.kind != 1] == [
        RecordKind.STARTED
    ]


def test_own_init_that_is_missing_is_reported(root: Path, tmp_path: Path) -> None:
    output = _run(tmp_path, root, GuestConfig(arguments=("/sbin/init",), is_init=True))
    assert (output.status, '"/sbin/init"' in output.failure) == (127, True)


def test_second_press_of_the_power_button_kills_the_entrypoint(root: Path, tmp_path: Path) -> None:
    script = "trap 'echo ignored' TERM; echo ready; while true; do sleep 0.1; done"
    config = GuestConfig(arguments=("sh", "-c", script))
    with boot(tmp_path, root, config) as guest:
        guest.wait_for(RecordKind.STDOUT, b"ready\n")
        guest.press_power_button()
        guest.wait_for(RecordKind.STDOUT, b"ignored\n")
        guest.press_power_button()
        output = guest.wait_until_off()
    assert (output.status, _is_clean(root)) == (128 + 9, True)


def test_standard_input_of_any_size_reaches_the_entrypoint(root: Path, tmp_path: Path) -> None:
    data = bytes(range(256)) * 12_000
    config = GuestConfig(arguments=("sh", "-c", "sleep 1; cat"), interactive=True)
    with boot(tmp_path, root, config) as guest:
        guest.connect()
        for start in range(0, len(data), CONTENT_LIMIT):
            guest.send(RecordKind.STDIN, data[start : start + CONTENT_LIMIT])
        guest.send(RecordKind.END_OF_INPUT)
        guest.send(RecordKind.STDIN, b"after the end")
        output = guest.wait_until_off()
    assert output.of(RecordKind.STDOUT) == data
    assert output.status == 0


def test_input_is_kept_from_an_entrypoint_that_wants_none(root: Path, tmp_path: Path) -> None:
    config = GuestConfig(arguments=("sh", "-c", "cat; sleep 1; echo done"))
    with boot(tmp_path, root, config) as guest:
        guest.connect()
        guest.send(RecordKind.STDIN, b"unwanted")
        output = guest.wait_until_off()
    assert (output.stdout, output.status) == ("done\n", 0)


@pytest.mark.parametrize("network", [None, "hubport,hubid=0"])
def test_machine_starts_without_a_dhcp_server(
    root: Path, tmp_path: Path, network: str | None
) -> None:
    config = GuestConfig(arguments=("cat", "/etc/hosts"), hostname="some-host")
    with boot(tmp_path, root, config, network=network) as guest:
        output = guest.wait_until_off()
    assert output.stdout == "127.0.0.1\tlocalhost\n::1\tlocalhost\n127.0.1.1\tsome-host\n"


def _connect(guest: Guest, path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    while guest.process.poll() is None:
        try:
            client.connect(str(path))
        except FileNotFoundError:
            time.sleep(0.02)
        else:
            break
    return client


def test_slow_host_gets_all_output(root: Path, tmp_path: Path) -> None:
    config = GuestConfig(arguments=("sh", "-c", "seq 1 400000; exit 6"))
    received = bytearray()
    output = f"socket,path={tmp_path}/slow,server=on,wait=off"
    with (
        boot(tmp_path, root, config, output=output) as guest,
        _connect(guest, tmp_path / "slow") as client,
    ):
        # Slow enough for most of it to be in a queue of the kernel when the entrypoint ends.
        while data := client.recv(20_000):
            received += data
            time.sleep(0.03)
        guest.wait_until_off()
    records = Output(parse_records(bytes(received)))
    assert records.stdout == "".join(f"{number}\n" for number in range(1, 400_001))
    assert records.status == 6


def test_host_that_does_not_read_does_not_keep_the_machine(root: Path, tmp_path: Path) -> None:
    config = GuestConfig(arguments=("sh", "-c", "yes; true"))
    output = f"socket,path={tmp_path}/unread,server=on,wait=off"
    with (
        boot(tmp_path, root, config, output=output) as guest,
        _connect(guest, tmp_path / "unread") as client,
    ):
        client.recv(1)
        guest.press_power_button()
        guest.press_power_button()
        guest.wait_until_off()
    assert _is_clean(root)


@pytest.mark.parametrize("connected", [False, True])
def test_host_that_is_not_connected_does_not_keep_the_machine(
    root: Path, tmp_path: Path, connected: bool
) -> None:
    config = GuestConfig(arguments=("sh", "-c", "seq 1 100000; exit 3"))
    output = f"socket,path={tmp_path}/output-socket,server=on,wait=off"
    with boot(tmp_path, root, config, output=output) as guest:
        if connected:
            _connect(guest, tmp_path / "output-socket").close()
        guest.wait_until_off()
    assert _is_clean(root)
