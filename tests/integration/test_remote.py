# SPDX-License-Identifier: LGPL-2.1-or-later
"""Commands for another host, by a real ssh and sshd: pulls, their sources, and errors."""

import asyncio
import json
import os
import pwd
import re
import shlex
import signal
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.command import COMMAND, Ended, started, virtlayer, virtlayer_on_terminal
from tests.support.faulty_registry import Fault, FaultyRegistry
from tests.support.images import Content, directory, file, image, layer, whiteout, write_layout
from tests.support.libvirt_host import LibvirtHost
from tests.support.registry import Registry
from tests.support.sshd import Sshd, sshd
from tests.support.virtlayerd import Daemon
from tests.support.waiting import PATIENCE, until
from virtlayer.client.bus.caller import Client
from virtlayer.client.host import ThisHost
from virtlayer.client.remote.frames import GREETING
from virtlayer.dbus.connection import Connection
from virtlayer.sizes import GIB, MIB

THERE = ("--user", "--host=there")
PASSWORD = "swordfish-7hk3"


@pytest.fixture(scope="module")
def there(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    variables = {
        "DBUS_SESSION_BUS_ADDRESS": daemon.bus.address,
        "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/no/bus",
    }
    with sshd(tmp_path_factory.mktemp("sshd"), variables) as running:
        yield running


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    place = tmp_path_factory.mktemp("private")
    with Registry(place, tls=True, htpasswd=("me", PASSWORD)) as running:
        yield running


@pytest.fixture
async def client(daemon: Daemon) -> AsyncIterator[Client]:
    """A caller on the other host, for what does not have to go through ssh."""
    async with await Connection.opened(session=True, address=daemon.bus.address) as bus:
        yield Client(bus, ThisHost(session=True), session=True)


@pytest.fixture
def pool_name(host: LibvirtHost, tmp_path: Path) -> Iterator[str]:
    name = f"remote-{tmp_path.name[-40:]}"
    host.start_pool(name)
    yield name
    host.stop_pool(name)


def demo(word: bytes) -> Content:
    """An image of two layers; another for another word."""
    base = layer(directory("etc"), file("etc/motd", word), file("etc/old", b"old"))
    return image([base, layer(whiteout("etc/old"))])


async def run_there(there: Sshd, *arguments: str, stdin: str = "") -> Ended:
    return await virtlayer(*THERE, *arguments, env=there.environment, stdin=stdin)


async def pulled_there(client: Client, source: str, pool_name: str) -> int:
    """Pull an image on the other host; return the ID of the job."""
    job = await client.pull(source, pool_name, {"tls-verify": False})
    (await client.wait(job, lambda _progress: None)).raise_for_failure()
    return job.id


async def test_pull_from_registry_and_listing(
    there: Sshd, registry: Registry, host: LibvirtHost, pool_name: str
) -> None:
    source = registry.store(demo(b"registry"), "registry:1")
    pulled = await run_there(there, "pull", source, pool_name, "--tls-verify=false")
    assert pulled.status == 0, pulled.stderr
    # Nothing of ssh; a pull that takes longer than usual prints its progress.
    assert re.fullmatch(r"(\w+ \d+%.*\n)*", pulled.stderr)
    assert pulled.stdout.endswith("(pulled: 2 layers built, 0 reused)\n")
    listed = await run_there(there, "images", pool_name, "--json")
    [entry] = json.loads(listed.stdout)
    assert (entry["name"], entry["source"]) == ("registry:1", source)
    assert len(host.volumes(pool_name)) == 2


@pytest.mark.parametrize("kind", ["layout", "archive"])
async def test_pull_of_files_of_this_host(
    there: Sshd, host: LibvirtHost, pool_name: str, tmp_path: Path, kind: str
) -> None:
    content = image([layer(file("data", os.urandom(5 * MIB)))])
    layout = write_layout(tmp_path / "layout", {"1": content})
    source = f"oci:{layout}:1"
    if kind == "archive":
        subprocess.run(["tar", "-C", layout, "-cf", tmp_path / "archive.tar", "."], check=True)
        source = f"oci-archive:{tmp_path}/archive.tar"
    pulled = await run_there(there, "--json", "pull", source, pool_name, "--name=local")
    assert pulled.status == 0, pulled.stderr
    assert json.loads(pulled.stderr.splitlines()[-1])["progress"] == 1
    assert json.loads(pulled.stdout)["volumes"] == host.volumes(pool_name)


async def test_no_wait_sends_the_whole_source(
    there: Sshd, client: Client, pool_name: str, tmp_path: Path
) -> None:
    content = image([layer(file("data", os.urandom(5 * MIB)))])
    source = f"oci:{write_layout(tmp_path / 'layout', {'1': content})}:1"
    ended = await run_there(there, "pull", "--no-wait", source, pool_name, "--name=sent")
    assert ended.status == 0, ended.stderr
    job = await client.present_job(int(ended.stdout))
    (await client.wait(job, lambda _progress: None)).raise_for_failure()


async def test_credentials_and_certificates_of_this_host(
    there: Sshd, private_registry: Registry, daemon: Daemon, pool_name: str, tmp_path: Path
) -> None:
    source = private_registry.store(demo(b"private"), "private:1")
    pull = ("pull", source, pool_name, f"--cert-dir={private_registry.cert_dir}")
    refused = await run_there(there, *pull)
    assert refused.status == 4, refused.stderr
    by_password = await run_there(
        there, *pull, "--username=me", "--password-stdin", stdin=f"{PASSWORD}\n"
    )
    assert by_password.status == 0, by_password.stderr
    login = b64encode(f"me:{PASSWORD}".encode()).decode()
    authfile = tmp_path / "auth.json"
    authfile.write_text(json.dumps({"auths": {private_registry.host: {"auth": login}}}))
    by_file = await run_there(there, *pull, f"--authfile={authfile}")
    assert by_file.status == 0, by_file.stderr
    assert PASSWORD not in daemon.log


async def test_keys_and_passwords_of_this_host(
    there: Sshd,
    client: Client,
    registry: Registry,
    host: LibvirtHost,
    pool_name: str,
    tmp_path: Path,
) -> None:
    account = layer(directory("etc"), file("etc/passwd", b"root:x:0:0::/root:/bin/sh\n"))
    source = registry.store(image([account]), "account:1")
    await pulled_there(client, source, pool_name)
    key = tmp_path / "key.pub"
    key.write_text((there.directory / "user_key.pub").read_text())
    made = await run_there(
        *(there, "create-volume", "account:1", "mine", pool_name, "--root-password-stdin"),
        *(f"--ssh-key={key}", "--hostname=web"),
        stdin=PASSWORD,
    )
    assert made.status == 0, made.stderr
    assert "mine" in host.volumes(pool_name)


async def test_facts_about_the_host_are_those_of_the_other_host(
    there: Sshd, client: Client, registry: Registry, pool_name: str, tmp_path: Path
) -> None:
    source = registry.store(demo(b"xml"), "xml:1")
    job = str(await pulled_there(client, source, pool_name))
    kernel = tmp_path / "vmlinuz"
    kernel.touch()
    xml = ("xml", "xml:1", pool_name, "--volume=disk")
    relative, missing, made, listed, shown, log = await asyncio.gather(
        run_there(there, *xml, "--kernel=vmlinuz"),
        run_there(there, *xml, "--kernel=/no/vmlinuz"),
        run_there(there, *xml, f"--kernel={kernel}"),
        run_there(there, "jobs", "--json"),
        run_there(there, "job", "show", job),
        run_there(there, "job", "log", job),
    )
    assert (relative.status, "is a file of there" in relative.stderr) == (2, True)
    assert (missing.status, missing.stderr) == (2, "virtlayer: No file /no/vmlinuz.\n")
    assert (made.status, f"<kernel>{kernel}</kernel>" in made.stdout) == (0, True), made.stderr

    user = pwd.getpwuid(os.geteuid()).pw_name
    assert {one["user"] for one in json.loads(listed.stdout)} == {user}
    assert f"user: {user}" in " ".join(shown.stdout.split())
    # A service that was started by hand logs elsewhere.
    assert (log.status, log.stdout.splitlines()[-1:]) == (0, ["-- No entries --"]), log.stderr


async def test_errors_of_the_service_are_those_of_a_local_command(
    there: Sshd, registry: Registry, pool_name: str
) -> None:
    source = registry.reference("nowhere:1")
    commands = {
        ("pull", source, pool_name, "--tls-verify=false"): 3,
        ("images", "no-such-pool"): 3,
        ("cancel", "4000000000"): 3,
        ("pull", "docker://UPPER/CASE", pool_name): 2,
    }
    for ended, status in zip(
        await asyncio.gather(*(run_there(there, *words) for words in commands)),
        commands.values(),
        strict=True,
    ):
        assert (ended.status, ended.stdout) == (status, ""), ended.stderr


async def test_user_service_and_system_service_are_distinguished(there: Sshd) -> None:
    ended = await virtlayer("--host=there", "images", env=there.environment)
    assert (ended.status, ended.stdout) == (5, "")
    assert ended.stderr.startswith("virtlayer: there: Cannot connect to the bus at unix:path=/no")


async def test_failures_of_ssh_have_its_messages_and_status(there: Sshd) -> None:
    expected = {
        "forgotten": (
            "Host key verification failed.",
            "virtlayer: Cannot connect to forgotten: ssh failed.",
        ),
        "not-admitted": (
            "Permission denied (publickey).",
            "virtlayer: Cannot connect to not-admitted: ",
        ),
        "127.0.0.1:1": (
            "port 1: Connection refused",
            "virtlayer: Cannot connect to 127.0.0.1",
        ),
    }
    found = await asyncio.gather(
        *(virtlayer("--user", "--host", host, "images", env=there.environment) for host in expected)
    )
    for ended, lines in zip(found, expected.values(), strict=True):
        assert (ended.status, ended.stdout) == (255, "")
        shown = ended.stderr.splitlines()[-2:]
        assert [line in one for line, one in zip(lines, shown, strict=True)] == [True, True], shown


async def test_ssh_asks_on_the_terminal(there: Sshd) -> None:
    words = ("--user", "--host=asked", "images", "--quiet")
    question = "continue connecting (yes/no/[fingerprint])?"
    for answer, status in (("\x03", 130), ("\x1c", 255), ("yes\n", 0)):
        ended = await virtlayer_on_terminal(
            *words, env=there.environment, answers=[(question, answer)]
        )
        assert ended.status == status, ended.stdout
        assert there.bridges == []


async def test_failures_of_run_differ_from_statuses_of_programs(there: Sshd) -> None:
    run = ("--user", "--host=forgotten", "--json", "run", "app")
    ended = await virtlayer(*run, env=there.environment)
    assert ended.status == 255
    assert json.loads(ended.stderr.splitlines()[-1])["error"] == "HostUnavailable"


async def test_restricted_key_can_use_virtlayer_only(there: Sshd, tmp_path: Path) -> None:
    ended = await virtlayer("--user", "-Hrestricted", "images", "--quiet", env=there.environment)
    assert (ended.status, ended.stderr) == (0, "")
    process = await asyncio.create_subprocess_exec(
        *("ssh", "restricted", "touch", tmp_path / "touched"),
        env=there.environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    answer, _ = await process.communicate()
    assert (answer, list(tmp_path.iterdir())) == (GREETING, [])


async def test_programs_that_are_not_virtlayer_are_reported(there: Sshd) -> None:
    expected = {
        "/no/virtlayer": "virtlayer is not installed on there, or not in the PATH of its shell.",
        "/etc/passwd": "virtlayer on there cannot be executed.",
        "echo hello": 'there sent "hello --user --bridg" in place of the greeting of virtlayer.',
        "sh -c 'exit 3'": "virtlayer --bridge on there ended unexpectedly, with exit status 3.",
        "printf 'virtlayer-bridge-99\\n'": "another version of the protocol",
    }
    found = await asyncio.gather(
        *(run_there(there, f"--remote-command={program}", "images") for program in expected)
    )
    for ended, text in zip(found, expected.values(), strict=True):
        assert (ended.status, ended.stdout) == (255, "")
        assert text in ended.stderr.splitlines()[-1]


async def test_the_program_there_can_be_named_with_arguments(there: Sshd, tmp_path: Path) -> None:
    program = tmp_path / "it's a $(touch it) name"
    program.symlink_to(COMMAND)
    quoted = shlex.quote(str(program))
    for ended in await asyncio.gather(
        *(
            run_there(there, f"--remote-command={words}", "images")
            for words in (quoted, f"env A='b c' {quoted}")
        )
    ):
        assert ended.status == 0, ended.stderr


async def test_output_of_startup_files_is_shown_without_escape_sequences(there: Sshd) -> None:
    program = r"""sh -c 'printf "\033[2Jtitle\n" >&2; exec virtlayer "$@"' sh"""
    ended = await run_there(there, f"--remote-command={program}", "images", "--quiet")
    assert ended.status == 0
    assert ended.stderr == "\\x1b[2Jtitle\n"


async def test_ctrl_c_on_a_terminal_cancels_the_job(
    there: Sshd, client: Client, host: LibvirtHost, pool_name: str
) -> None:
    content = demo(b"slow")
    blob = json.loads(content.manifest)["layers"][0]["digest"]
    async with FaultyRegistry() as slow:
        source = slow.store(content, "slow:1")
        slow.faults[blob] = Fault.HANG_HALF_WAY
        # The key reaches ssh as well, which is in the same group of processes.
        ended = await virtlayer_on_terminal(
            *(*THERE, "pull", source, pool_name, "--no-tls-verify"),
            env=there.environment,
            answers=[(f"downloading {blob.removeprefix('sha256:')[:12]}", "\x03")],
        )
    assert ended.status == 130, ended.stdout
    assert await state_of(client, source) == "cancelled"
    assert host.volumes(pool_name) == []


async def test_ctrl_c_cancels_while_a_large_source_is_sent(
    there: Sshd, client: Client, host: LibvirtHost, pool_name: str, tmp_path: Path
) -> None:
    content = demo(b"stopped")
    layout = write_layout(tmp_path / "layout", {"1": content})
    os.truncate(layout / "blobs" / content.layer_digests[0].replace(":", "/"), 20 * GIB)
    source = f"oci:{layout}:1"
    async with started(*THERE, "pull", source, pool_name, env=there.environment) as process:
        await in_state(client, source, "running")
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
        assert process.returncode == 130, errors
    assert await state_of(client, source) == "cancelled"
    assert (there.bridges, host.volumes(pool_name)) == ([], [])


async def test_nothing_is_left_when_the_command_is_killed(
    there: Sshd, client: Client, pool_name: str
) -> None:
    content = demo(b"killed")
    async with FaultyRegistry() as slow:
        source = slow.store(content, "killed:1")
        slow.faults[json.loads(content.manifest)["layers"][0]["digest"]] = Fault.HANG_HALF_WAY
        pull = (*THERE, "pull", source, pool_name, "--tls-verify=false")
        async with started(*pull, env=there.environment) as process:
            await in_state(client, source, "running")
            process.kill()
        await until(lambda: not there.sessions)
        await cancel(client, source)


async def cancel(client: Client, source: str) -> None:
    """Cancel the job, which runs."""
    assert await state_of(client, source) == "running"
    [job] = [job.id for job in await client.list_jobs() if job.source == source]
    await client.cancel(job)


async def state_of(client: Client, source: str) -> str:
    states = [job.state for job in await client.list_jobs() if job.source == source]
    return states[-1] if states else ""


async def in_state(client: Client, source: str, state: str) -> None:
    """Wait until the job has the state."""
    async with asyncio.timeout(PATIENCE):
        while await state_of(client, source) != state:
            await asyncio.sleep(0.05)


async def test_job_continues_when_the_connection_is_lost(
    there: Sshd, client: Client, pool_name: str
) -> None:
    content = demo(b"lost")
    async with FaultyRegistry() as slow:
        source = slow.store(content, "lost:1")
        slow.faults[json.loads(content.manifest)["layers"][0]["digest"]] = Fault.HANG_HALF_WAY
        pull = (*THERE, "pull", source, pool_name, "--tls-verify=false")
        async with started(*pull, env=there.environment) as process:
            assert process.stderr is not None
            async for line in process.stderr:
                if line.startswith(b"downloading"):
                    break
            there.lose_connections()
            _, errors = await process.communicate()
        last = errors.decode().splitlines()[-1]
        assert (process.returncode, "The connection to there was lost." in last) == (255, True), (
            last
        )
        # As after the end of a command without a connection.
        await cancel(client, source)
    assert there.bridges == []


async def test_pull_of_a_local_source_fails_when_the_connection_is_lost(
    there: Sshd, client: Client, host: LibvirtHost, pool_name: str, tmp_path: Path
) -> None:
    content = demo(b"cut")
    layout = write_layout(tmp_path / "layout", {"1": content})
    # Nothing looks at its digest before it has arrived.
    os.truncate(layout / "blobs" / content.layer_digests[0].replace(":", "/"), 2 * GIB)
    source = f"oci:{layout}:1"
    async with started(*THERE, "pull", source, pool_name, env=there.environment) as process:
        await in_state(client, source, "running")
        there.lose_connections()
        _, errors = await process.communicate()
        assert process.returncode == 255, errors
    await in_state(client, source, "failed")
    assert host.volumes(pool_name) == []
