# SPDX-License-Identifier: LGPL-2.1-or-later
"""The virtlayer command with everything real: registry, skopeo, virtlayerd, libvirtd, qemu."""

import asyncio
import contextlib
import functools
import json
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.support.command import started, virtlayer, virtlayer_on_terminal
from tests.support.faulty_registry import Fault, FaultyRegistry
from tests.support.images import Content, directory, file, image, layer, whiteout
from tests.support.libvirt_host import LibvirtHost
from tests.support.registry import Registry
from tests.support.virtlayerd import Daemon
from virtlayer.sizes import MIB

PASSWORD = "swordfish-4mz6"


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
def pool_name(host: LibvirtHost, tmp_path: Path) -> Iterator[str]:
    # libvirtd may run as another user, whom pytest's directories keep out.
    name = f"cli-{tmp_path.name[-40:]}"
    host.start_pool(name)
    yield name
    host.stop_pool(name)


def demo(word: bytes) -> Content:
    """An image of two layers; another for another word."""
    base = layer(directory("etc"), file("etc/motd", word), file("etc/old", b"old"))
    return image([base, layer(whiteout("etc/old"))])


async def test_pull_builds_a_chain_once(
    daemon: Daemon, registry: Registry, host: LibvirtHost, pool_name: str
) -> None:
    source = registry.store(demo(b"once"), "once:1")
    pull = ("--user", "pull", source, pool_name, "--tls-verify=false")
    first = await virtlayer(*pull, env=daemon.environment)
    assert first.status == 0, first.stderr
    assert first.stdout.startswith("once:1: /")
    assert first.stdout.endswith("(pulled: 2 layers built, 0 reused)\n")
    second = await virtlayer(*pull, "--json", env=daemon.environment)
    result = json.loads(second.stdout)
    assert (result["layers_built"], result["layers_reused"]) == (0, 2)
    assert sorted(result["volumes"]) == host.volumes(pool_name)
    assert result["path"] in first.stdout

    listed = await virtlayer("--user", "images", pool_name, "--json", env=daemon.environment)
    [entry] = json.loads(listed.stdout)
    assert (entry["pool"], entry["name"], entry["source"]) == (pool_name, "once:1", source)
    assert entry["digest"] == result["digest"]


async def test_terminal_shows_the_layer_that_is_downloaded(
    daemon: Daemon, host: LibvirtHost, pool_name: str
) -> None:
    content = demo(b"rows")
    blob = json.loads(content.manifest)["layers"][0]["digest"]
    async with FaultyRegistry() as slow:
        source = slow.store(content, "rows:1")
        slow.faults[blob] = Fault.HANG_HALF_WAY
        ended = await virtlayer_on_terminal(
            *("--user", "pull", source, pool_name, "--no-tls-verify"),
            env=daemon.environment,
            columns=80,
            answers=[(f"downloading {blob.removeprefix('sha256:')[:12]}", "\x03")],
        )
    assert ended.status == 130, ended.stdout
    assert host.volumes(pool_name) == []


async def test_inspect_stores_nothing(
    daemon: Daemon, registry: Registry, host: LibvirtHost, pool_name: str
) -> None:
    content = demo(b"inspected")
    source = registry.store(content, "inspected:1")
    ended = await virtlayer(
        *("--user", "inspect", source, "--tls-verify=false", "--json"), env=daemon.environment
    )
    assert ended.status == 0, ended.stderr
    inspection = json.loads(ended.stdout)
    assert inspection["digest"] == content.digest
    assert [item["digest"] for item in inspection["layers"]] == [
        item["digest"] for item in json.loads(content.manifest)["layers"]
    ]
    assert host.volumes(pool_name) == []


async def test_password_is_not_visible(
    daemon: Daemon, private_registry: Registry, pool_name: str
) -> None:
    source = private_registry.store(demo(b"private"), "private:1")
    async with watched_processes() as seen:
        ended = await virtlayer(
            *("--user", "pull", source, pool_name, f"--cert-dir={private_registry.cert_dir}"),
            *("--username=me", "--password-stdin"),
            env=daemon.environment,
            stdin=f"{PASSWORD}\n",
        )
    assert ended.status == 0, ended.stderr
    assert any(b"experimental-image-proxy" in line for line in seen)
    assert not [line for line in seen if PASSWORD.encode() in line]
    assert PASSWORD not in ended.stdout + ended.stderr + daemon.log
    assert not [
        path for path in files_below(daemon.directory) if PASSWORD in path.read_text("latin-1")
    ]


def all_processes() -> set[int]:
    """Those of the machine."""
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()}


@contextlib.asynccontextmanager
async def watched_processes(
    processes: Callable[[], Iterable[int]] = all_processes,
) -> AsyncIterator[set[bytes]]:
    """Collect what processes show of themselves: arguments and environment.

    Args:
        processes: Their numbers at a moment; by default those of all processes of the machine.
    """
    seen: set[bytes] = set()

    async def watch() -> None:
        while True:
            await asyncio.to_thread(look)
            await asyncio.sleep(0.005)

    def look() -> None:
        for pid in processes():
            for name in ("cmdline", "environ"):
                with contextlib.suppress(OSError):
                    seen.add(Path(f"/proc/{pid}/{name}").read_bytes())

    watching = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


def files_below(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.is_file()]


async def test_wrong_password_is_reported(
    daemon: Daemon, private_registry: Registry, pool_name: str
) -> None:
    source = private_registry.store(demo(b"wrong"), "wrong:1")
    ended = await virtlayer(
        *("--user", "pull", source, pool_name, f"--cert-dir={private_registry.cert_dir}"),
        *("--username=me", "--password-stdin"),
        env=daemon.environment,
        stdin="another-9wq2\n",
    )
    assert ended.status == 4
    assert "another-9wq2" not in ended.stderr


async def test_an_authfile_of_the_caller_is_used(
    daemon: Daemon, private_registry: Registry, pool_name: str, tmp_path: Path
) -> None:
    source = private_registry.store(demo(b"authfile"), "authfile:1")
    authfile = tmp_path / "auth.json"
    login = await asyncio.create_subprocess_exec(
        *("skopeo", "login", f"--authfile={authfile}", "--username=me", "--password-stdin"),
        *(f"--cert-dir={private_registry.cert_dir}", private_registry.host),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    await login.communicate(PASSWORD.encode())
    ended = await virtlayer(
        *("--user", "pull", source, pool_name, f"--cert-dir={private_registry.cert_dir}"),
        f"--authfile={authfile}",
        env=daemon.environment,
    )
    assert ended.status == 0, ended.stderr


async def test_a_login_is_used_by_pulls_until_the_logout(
    daemon: Daemon, private_registry: Registry, pool_name: str, tmp_path: Path
) -> None:
    source = private_registry.store(demo(b"login"), "login:1")
    environment = daemon.environment | {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    certificates = f"--cert-dir={private_registry.cert_dir}"
    login = await virtlayer(
        *("login", "-u", "me", "--password-stdin", certificates, private_registry.host),
        env=environment,
        stdin=PASSWORD,
    )
    assert login.status == 0, login.stderr
    pull = ("--user", "pull", source, pool_name, certificates)
    pulled = await virtlayer(*pull, env=environment)
    assert pulled.status == 0, pulled.stderr
    logout = await virtlayer("logout", private_registry.host, env=environment)
    assert logout.status == 0, logout.stderr
    refused = await virtlayer(*pull, env=environment)
    assert refused.status == 4, refused.stderr


async def test_a_refused_login_is_an_error_of_virtlayer(
    daemon: Daemon, private_registry: Registry, tmp_path: Path
) -> None:
    certificates = f"--cert-dir={private_registry.cert_dir}"
    logins = tmp_path / "auth.json"
    logins.write_text("{}")
    authfile = f"--authfile={logins}"
    options = ("-u", "me", "--password-stdin", certificates, authfile)
    host = private_registry.host
    login = functools.partial(virtlayer, "login", *options, env=daemon.environment, stdin="wrong")
    wrong = await login(host)
    expected = f"virtlayer: {host} refused the login: invalid user name or password.\n"
    assert (wrong.status, wrong.stdout, wrong.stderr) == (4, "", expected)
    unreachable = await login("127.0.0.1:1")
    assert unreachable.status == 5
    assert unreachable.stderr.startswith("virtlayer: Cannot reach 127.0.0.1:1: ")
    logout = await virtlayer("logout", authfile, host, env=daemon.environment)
    assert (logout.status, logout.stderr) == (2, f"virtlayer: You are not logged in to {host}.\n")


async def test_credentials_can_be_given_as_podman_takes_them(
    daemon: Daemon, private_registry: Registry
) -> None:
    source = private_registry.store(demo(b"creds"), "creds:1")
    inspect = ("--user", "inspect", source, f"--cert-dir={private_registry.cert_dir}")
    shown = await virtlayer(*inspect, f"--creds=me:{PASSWORD}", env=daemon.environment)
    assert shown.status == 0, shown.stderr
    asked = await virtlayer_on_terminal(
        *inspect,
        "--creds=me",
        env=daemon.environment,
        answers=[(f"Password of me at {private_registry.host}: ", PASSWORD)],
    )
    assert asked.status == 0, asked.stdout
    assert PASSWORD not in asked.stdout


@pytest.mark.parametrize(
    ("source", "pool", "options", "status"),
    [
        ("docker://{host}/nowhere:1", "{pool}", [], 3),
        ("docker://{host}/there:1", "no-such-pool", [], 3),
        ("docker://{host}/there:1", "{pool}", ["--platform=linux/s390x"], 3),
        ("docker://127.0.0.1:1/there:1", "{pool}", [], 5),
        ("docker://UPPER/CASE", "{pool}", [], 2),
        ("docker://{host}/there:1", "{pool}", ["--size=64M"], 6),
    ],
)
async def test_failed_pull_has_a_status_and_leaves_nothing(
    daemon: Daemon,
    registry: Registry,
    host: LibvirtHost,
    pool_name: str,
    source: str,
    pool: str,
    options: list[str],
    status: int,
) -> None:
    registry.store(image([layer(file("big", b"big\n" * (20 * MIB)))]), "there:1")
    ended = await virtlayer(
        *("--user", "pull", source.format(host=registry.host), pool.format(pool=pool_name)),
        *("--tls-verify=false", *options),
        env=daemon.environment,
    )
    assert (ended.status, ended.stdout) == (status, ""), ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("virtlayer: ")
    assert host.volumes(pool_name) == []


async def test_ctrl_c_cancels_and_cleans_up(
    daemon: Daemon, host: LibvirtHost, pool_name: str
) -> None:
    content = demo(b"slow")
    async with FaultyRegistry() as slow:
        source = slow.store(content, "slow:1")
        blob = json.loads(content.manifest)["layers"][0]["digest"]
        slow.faults[blob] = Fault.HANG_HALF_WAY
        pull = ("--user", "pull", source, pool_name, "--tls-verify=false")
        async with started(*pull, env=daemon.environment) as process:
            assert process.stderr is not None
            async for line in process.stderr:
                if line.startswith(b"downloading"):
                    break
            process.send_signal(signal.SIGINT)
            _, stderr = await process.communicate()
        assert process.returncode == 130, stderr
    jobs = await virtlayer("--user", "jobs", "--json", env=daemon.environment)
    [state] = [job["state"] for job in json.loads(jobs.stdout) if job["subject"] == source]
    assert state == "cancelled"
    assert host.volumes(pool_name) == []


async def test_jobs_can_be_listed_and_cancelled_from_elsewhere(
    daemon: Daemon, pool_name: str
) -> None:
    content = demo(b"elsewhere")
    async with FaultyRegistry() as slow:
        source = slow.store(content, "elsewhere:1")
        slow.faults[json.loads(content.manifest)["layers"][0]["digest"]] = Fault.HANG
        pull = ("--user", "pull", source, pool_name, "--tls-verify=false")
        number = (await virtlayer(*pull, "--no-wait", env=daemon.environment)).stdout.strip()
        jobs = await virtlayer("--user", "jobs", env=daemon.environment)
        assert [line.split()[:2] for line in jobs.stdout.splitlines() if source in line] == [
            [number, "pull"]
        ]
        cancelled = await virtlayer("--user", "cancel", number, env=daemon.environment)
        assert cancelled.status == 0, cancelled.stderr
        again = await virtlayer("--user", "cancel", number, env=daemon.environment)
        assert again.status in {0, 3}
        unknown = await virtlayer("--user", "cancel", "4000000000", env=daemon.environment)
        assert unknown.status == 3
