# SPDX-License-Identifier: LGPL-2.1-or-later
"""Seeds for cloud-init, read by other programs without a mount, and applied by cloud-init."""

import dataclasses
import gzip
import os
import subprocess
from email.message import EmailMessage
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.cloud_init import applied
from virtlayer.errors import InvalidArgument
from virtlayer.service.machines.seed import USER_DATA_LIMIT, Seed, read_user_data, seed_image
from virtlayer.service.operations.passwords import hash_password
from virtlayer.service.source.passed_descriptor import secrets_deadline

_ID = UUID("6f1c1f0e-8b9c-4d0e-9a53-0123456789ab")
_BLOB = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
_KEY = f"ssh-ed25519 {_BLOB} me"
_OTHER_BLOB = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4g"
_ODD_KEY = f"ssh-ed25519 {_OTHER_BLOB} 😀: ü \"x\" # {{}} 'y' $(id) \\n"
_HASH = "$6$salt$hash./A"
_OTHER_HASH = "$6$other$hash"
_FULL = Seed(
    instance_id=_ID,
    hostname="web.example.org",
    ssh_authorized_keys=(_KEY, _ODD_KEY),
    root_password_hash=_HASH,
)
_CALLERS_KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4h caller"
)
_CONFIG = f"""\
#cloud-config
password: of-the-default-user
chpasswd:
  expire: false
  users: [{{name: daemon, type: hash, password: "{_OTHER_HASH}"}}]
bootcmd: [[touch, /run/caller]]
ssh_authorized_keys: ["{_CALLERS_KEY}"]
""".encode()


def with_user_data(user_data: bytes) -> Seed:
    return dataclasses.replace(_FULL, user_data=user_data)


def read_by_isoinfo(image: Path, *arguments: str) -> bytes:
    command = ["isoinfo", "-i", str(image), "-R", *arguments]
    return subprocess.run(command, capture_output=True, check=True).stdout


# ---- the image ----


@pytest.mark.parametrize("seed", [Seed(instance_id=_ID), with_user_data(os.urandom(100_000))])
def test_other_programs_read_label_and_files(tmp_path: Path, seed: Seed) -> None:
    image = tmp_path / "seed"
    image.write_bytes(seed_image(seed))
    probed = subprocess.run(
        ["blkid", "-p", "-o", "export", image], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {"LABEL=cidata", "TYPE=iso9660"} <= set(probed)
    files = seed.files()
    assert files["user-data"] == (seed.user_data or b"")
    for name, content in files.items():
        assert read_by_isoinfo(image, "-x", f"/{name}") == content
    listed = read_by_isoinfo(image, "-f").decode().split()
    assert sorted(listed) == sorted(f"/{name}" for name in files)
    joliet = subprocess.run(
        ["isoinfo", "-i", image, "-J", "-f"], capture_output=True, text=True, check=True
    )
    assert sorted(joliet.stdout.split()) == sorted(listed)


def test_only_root_reads_the_files(tmp_path: Path) -> None:
    image = tmp_path / "seed"
    image.write_bytes(seed_image(_FULL))
    lines = read_by_isoinfo(image, "-l").decode().splitlines()
    files = [line for line in lines if line.rstrip().endswith("-data")]
    assert len(files) == 3
    assert all(line.startswith("-r--------") for line in files)


def test_image_is_a_whole_number_of_sectors() -> None:
    for size in (0, 1, 2047, 2048, 2049, USER_DATA_LIMIT):
        assert len(seed_image(with_user_data(bytes(size)))) % 2048 == 0


# ---- what cloud-init makes of it ----


@pytest.mark.root
def test_cloud_init_applies_every_value() -> None:
    machine = applied(_FULL.files())
    assert (machine.instance, machine.hostname) == (str(_ID), "web.example.org")
    assert machine.passwords["root"] == _HASH
    assert set(machine.keys["root"]) == set(machine.keys["games"]) == {_KEY, _ODD_KEY}


@pytest.mark.root
def test_cloud_init_changes_nothing_without_values() -> None:
    machine = applied(Seed(instance_id=_ID).files())
    before = Path("/etc/shadow").read_text().splitlines()
    assert machine.passwords == dict(line.split(":")[:2] for line in before)
    assert machine.keys == {"root": [], "games": []}


def _as_mime() -> bytes:
    message = EmailMessage()
    message.add_attachment("#!/bin/sh\n", subtype="x-shellscript")
    message.add_attachment(_CONFIG.decode(), subtype="cloud-config")
    return message.as_bytes()


@pytest.mark.root
@pytest.mark.parametrize(
    "user_data",
    [_CONFIG, gzip.compress(_CONFIG), _as_mime(), b"## template: jinja\n" + _CONFIG],
    ids=["config", "gzip", "mime", "jinja"],
)
def test_user_data_of_the_caller_takes_effect_beside_the_options(user_data: bytes) -> None:
    machine = applied(with_user_data(user_data).files())
    assert machine.passwords["root"] == _HASH
    assert machine.passwords["daemon"] == _OTHER_HASH
    assert machine.config["bootcmd"] == [["touch", "/run/caller"]]
    assert set(machine.keys["root"]) == {_KEY, _ODD_KEY, _CALLERS_KEY}
    assert machine.hostname == "web.example.org"


@pytest.mark.root
def test_password_of_the_default_user_in_user_data_takes_effect() -> None:
    machine = applied(with_user_data(b"#cloud-config\npassword: of-the-default-user\n").files())
    before = dict(line.split(":")[:2] for line in Path("/etc/shadow").read_text().splitlines())
    assert machine.passwords["games"] != before["games"]
    assert machine.passwords["root"] == _HASH


@pytest.mark.root
def test_user_data_decides_what_it_says_about_root() -> None:
    said = f"""\
#cloud-config
disable_root: true
hostname: other
chpasswd: {{users: [{{name: root, type: hash, password: "{_OTHER_HASH}"}}]}}
"""
    machine = applied(with_user_data(said.encode()).files())
    assert machine.passwords["root"] == _OTHER_HASH
    assert all('command="' in line for line in machine.keys["root"])
    assert machine.config["hostname"] == "other"


@pytest.mark.root
def test_password_that_was_changed_in_the_machine_stays() -> None:
    change = f"printf '%s\\n' 'root:{_OTHER_HASH}' | chpasswd -e"
    machine = applied(_FULL.files(), boots=2, between=change)
    assert machine.passwords["root"] == _OTHER_HASH


@pytest.mark.root
def test_hash_of_a_password_arrives_unchanged() -> None:
    hashed = hash_password("swordfish 'ü' \\ $(id)")
    seed = dataclasses.replace(_FULL, root_password_hash=hashed)
    assert applied(seed.files()).passwords["root"] == hashed


# ---- invalid values ----


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"hostname": "a_b"}, "hostname"),
        ({"hostname": "a\nb"}, "hostname"),
        ({"ssh_authorized_keys": ("SECRET",)}, "SSH key 1"),
        ({"ssh_authorized_keys": (f"{_KEY}\nSECRET",)}, "SSH key 1"),
        ({"ssh_authorized_keys": (_KEY, f'command="SECRET" {_KEY}')}, "SSH key 2 has options"),
        ({"ssh_authorized_keys": (f"cert-authority {_KEY}",)}, "SSH key 1 has options"),
        ({"root_password_hash": "SECRET"}, "hash"),
        ({"root_password_hash": "$6$SECRET\nmallory:x"}, "hash"),
        ({"root_password_hash": "$6$SECRET:0"}, "hash"),
        ({"user_data": b"SECRET".ljust(USER_DATA_LIMIT + 1)}, "more than 1 MiB"),
    ],
)
def test_invalid_value_is_refused_and_not_shown(fields: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        dataclasses.replace(_FULL, **fields)  # type: ignore[arg-type] # any of them
    assert text in caught.value.message
    assert "SECRET" not in caught.value.message


def test_representation_shows_no_secret() -> None:
    shown = repr(with_user_data(b"SECRET"))
    assert "SECRET" not in shown
    assert _HASH not in shown


async def test_user_data_is_read_from_a_descriptor_within_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "user-data"
    for size in (0, USER_DATA_LIMIT, USER_DATA_LIMIT + 1):
        path.write_bytes(bytes(size))
        with path.open("rb") as stream:
            reading = read_user_data(stream.fileno(), secrets_deadline())
            if size <= USER_DATA_LIMIT:
                assert await reading == bytes(size)
            else:
                with pytest.raises(InvalidArgument, match='"user-data-fd" gives more than 1 MiB'):
                    await reading
