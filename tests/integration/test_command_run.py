# SPDX-License-Identifier: LGPL-2.1-or-later
"""``virtlayer run``: machines of images, with input, output and exit status as podman has them."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.boot_images import debian_files
from tests.support.bus_daemon import session_bus
from tests.support.command import Ended, started, virtlayer, virtlayer_on_terminal
from tests.support.free_ports import free_port
from tests.support.images import Content, directory, file, image, layer, symlink
from tests.support.machine_host import machine_host
from tests.support.pool_user import PoolUser, pool_user
from tests.support.registry import Registry
from tests.support.soak import in_soak
from tests.support.sshd import sshd
from tests.support.virtlayerd import virtlayerd

_SETTINGS = """
[storage]
virtual-size = 268435456
[service]
idle-timeout = 0
[machine]
kernel = "kernel"
"""
_PROGRAMS = ("sh", "cat", "echo", "id", "pwd", "sleep", "stty", "test", "tty")
_SCRIPT = """\
for word in "$@"; do printf '[%s]' "$word"; done
echo " $A|$B|$HOME|$(pwd)|$(id -u):$(id -g)|$(id -G)"
cat
echo problem >&2
exit 7
"""


@dataclass(frozen=True, slots=True)
class Runner:
    """A user with a pool that has the images ``kernel`` and ``app``.

    Attributes:
        user: The user.
        source: The source of the image ``app:1``.
    """

    user: PoolUser
    source: str

    @property
    def environment(self) -> dict[str, str]:
        """Of the user's commands."""
        return self.user.daemon.environment

    def words(self, *arguments: str) -> list[str]:
        """The command line of a run; emulated with little memory."""
        return ["--user", "run", "--pool", self.user.pool, "-m", "128", "--cpus=1", *arguments]

    async def run(self, *arguments: str, stdin: str = "") -> Ended:
        """Run an image with pipes."""
        return await virtlayer(*self.words(*arguments), env=self.environment, stdin=stdin)

    async def machines(self) -> list[str]:
        """The names of all machines."""
        return (await self.user.tell("ps", "--all", "--quiet")).split()


def app() -> Content:
    """An image with a shell, a user and groups."""
    return image(
        [
            layer(
                *map(directory, ("bin", "etc", "home", "home/app")),
                file(
                    "etc/passwd", b"root:x:0:0::/root:/bin/sh\napp:x:1000:100::/home/app:/bin/sh\n"
                ),
                file("etc/group", b"root:x:0:\nusers:x:100:\nstaff:x:50:\nextra:x:77:app\n"),
                file("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o755),
                *(symlink(f"bin/{name}", "busybox") for name in _PROGRAMS),
                file("bin/data", b"no program", mode=0o644),
            )
        ],
        config={"config": {"Cmd": ["sh"], "Env": ["PATH=/bin", "A=image", "B=image"]}},
    )


def _kernel() -> Content:
    """An image with a kernel, which names no command."""
    return image([layer(*debian_files())], config={"config": {}})


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolUser]:
    place = tmp_path_factory.mktemp("run")
    (place / "bus").mkdir()
    with (
        Registry(place / "registry") as registry,
        machine_host() as host,
        session_bus(place / "bus") as bus,
        virtlayerd(host, bus, place, settings=_SETTINGS) as daemon,
        pool_user(daemon, registry, host) as running,
    ):
        yield running


@pytest.fixture
async def runner(user: PoolUser) -> AsyncIterator[Runner]:
    source = user.registry.store(app(), "app:1")
    if not any(line.startswith("kernel") for line in await _images(user)):
        await user.pull(_kernel(), "kernel")
    yield Runner(user, source)
    for name in (await user.tell("ps", "--all", "--quiet")).split():
        await user.tell("rm", "--force", name)


async def _images(user: PoolUser) -> list[str]:
    return (await user.tell("images", "--quiet", user.pool)).splitlines()


async def test_a_program_has_the_words_variables_user_and_streams_that_were_given(
    runner: Runner,
) -> None:
    words = ["a b", "", "*", "two\nlines", "--rm", "--", "'\"$A"]
    ended = await runner.run(
        *("--rm", "-i", "--tls-verify=false", "--name=odd", "-u", "app", "-w", "/srv/new"),
        *("-e", "A=x  'y'", "-e", "C=\tc", "--entrypoint=/bin/sh", runner.source),
        *("-c", _SCRIPT, "name", *words),
        stdin="typed\nwithout end of line",
    )

    shown = "".join(f"[{word}]" for word in words)
    assert ended == Ended(
        7,
        f"{shown} x  'y'|image|/home/app|/srv/new|1000:100|100 77\ntyped\nwithout end of line",
        "problem\n",
    )
    assert await runner.machines() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuch"], 'has no image "nosuch"'),
        (["--pull=never", "docker://127.0.0.1:1/nosuch"], "--pull=never forbids to pull it"),
        (["--pull=always", "kernel"], '--pull=always requires a source, but "kernel" is'),
        (["--kernel=nosuch", "app:1", "sh"], 'The image "nosuch" (--kernel) does not exist'),
        (["--network=network:nosuch", "app:1"], 'libvirt has no network "nosuch"'),
        (["--network=bridge:virbr0", "-p", "81:80", "app:1"], "-p"),
        (["-m", "32", "app:1"], "Invalid --memory: 32 MiB"),
        (["-w", "relative", "app:1"], 'Invalid --workdir: "relative" is not an absolute path'),
        (["-e", "=secret", "app:1"], "A variable of -e has no name"),
        (["--env-file=/nosuch", "app:1"], "Cannot read --env-file /nosuch"),
        (["--user-data=/nosuch", "app:1"], "Cannot read --user-data /nosuch"),
        (["--name=a/b", "app:1"], "a/b"),
        (["--platform=linux/amd64", "app:1"], "--platform is for images that are pulled first"),
        (["--type=lxc", "app:1"], "directory"),
        (["kernel"], "names no command and has no /sbin/init"),
    ],
)
async def test_every_failure_has_the_exit_status_125_and_leaves_nothing(
    runner: Runner, arguments: list[str], message: str
) -> None:
    if "app:1" not in await _images(runner.user):
        await runner.user.tell("pull", "--tls-verify=false", runner.source, runner.user.pool)
    before = runner.user.volumes

    ended = await runner.run("--rm", *arguments)

    assert (ended.status, ended.stdout) == (125, "")
    assert message in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert "secret" not in ended.stderr
    assert await runner.machines() == []
    assert [name for name in runner.user.volumes if name not in before] == []


async def test_pull_policies(runner: Runner) -> None:
    registry = runner.user.registry
    await runner.user.tell("pull", "--tls-verify=false", runner.source, runner.user.pool)
    # The machine is never made: the kernel is looked for when the image is there.
    run = ("--rm", "--kernel=nosuch", "--tls-verify=false", runner.source)

    for policy, is_pulled in (("missing", False), ("never", False), ("always", True)):
        before = registry.requests("/manifests/")
        ended = await runner.run(f"--pull={policy}", *run)
        assert 'The image "nosuch" (--kernel) does not exist' in ended.stderr
        assert (registry.requests("/manifests/") > before) == is_pulled


@in_soak
@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        (["nosuch"], 127, 'Cannot find the program "nosuch" in the image.'),
        (["/bin/data"], 126, "/bin/data"),
        (["-u", "nosuch", "sh"], 126, 'The image has no user "nosuch" in its /etc/passwd.'),
        (["sh", "-c", "kill -9 $$"], 137, ""),
    ],
)
async def test_exit_statuses_are_those_of_podman(
    runner: Runner, command: list[str], status: int, message: str
) -> None:
    options = command[:2] if command[0] == "-u" else []
    words = command[len(options) :]
    ended = await runner.run(
        "--rm", "--tls-verify=false", "--name=same", *options, runner.source, *words
    )
    assert (ended.status, ended.stdout) == (status, "")
    assert message in ended.stderr
    assert bool(ended.stderr) == bool(message)
    assert await runner.machines() == []


@in_soak
async def test_a_terminal_has_the_size_of_the_users(runner: Runner) -> None:
    ended = await virtlayer_on_terminal(
        *runner.words("--rm", "-it", "--tls-verify=false", runner.source),
        env=runner.environment,
        answers=[("# ", "tty; stty size; exit 5\n")],
    )
    assert ended.status == 5
    assert "/dev/pts/" in ended.stdout
    assert "30 100" in ended.stdout


@in_soak
async def test_a_machine_continues_when_its_user_leaves_the_terminal(runner: Runner) -> None:
    run = runner.words("-it", "--name=left", "--tls-verify=false", runner.source)
    ended = await virtlayer_on_terminal(*run, env=runner.environment, answers=[("# ", "\x1d")])

    assert ended.status == 0
    assert 'The machine continues; "virtlayer console left" returns.' in ended.stdout
    assert await runner.user.tell("ps", "--format", "{{.name}} {{.state}}") == "left running\n"
    await runner.user.tell("stop", "--time=0", "left")


@in_soak
async def test_signals_reach_the_program(runner: Runner) -> None:
    script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done"
    words = runner.words("--rm", "--tls-verify=false", runner.source, "sh", "-c", script)
    async with started(*words, env=runner.environment) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert await process.stdout.read() == b"caught\n"
        assert await process.wait() == 9


@in_soak
async def test_a_detached_machine_prints_its_name_and_answers_at_a_port(runner: Runner) -> None:
    port = free_port()
    serve = "mkdir /w; echo hello >/w/i; exec busybox httpd -f -h /w"
    publish = f"127.0.0.1:{port}:80"
    ended = await runner.run(
        *("-d", "--name=web", "-p", publish, "--tls-verify=false", runner.source),
        *("sh", "-c", serve),
    )
    assert ended == Ended(0, "web\n")
    url = f"http://127.0.0.1:{port}/i"
    retry = ("--retry", "30", "--retry-all-errors", "--retry-delay", "1")
    answer = await asyncio.create_subprocess_exec(
        "curl", "--silent", *retry, url, stdout=asyncio.subprocess.PIPE
    )
    [answered, _] = await answer.communicate()
    assert answered == b"hello\n"
    assert f"127.0.0.1:{port}->80/tcp" in await runner.user.tell("ps")

    again = await runner.run("-d", "-p", publish, runner.source)
    assert again.status == 125
    assert str(port) in again.stderr
    again = await runner.run("--name=web", runner.source)
    assert again.status == 125
    assert '"web"' in again.stderr

    await runner.user.tell("stop", "web")
    assert await runner.user.tell("wait", "web") == "143\n"


@in_soak
async def test_terminal_of_a_machine_on_another_host(runner: Runner, tmp_path: Path) -> None:
    with sshd(tmp_path, {"DBUS_SESSION_BUS_ADDRESS": runner.user.daemon.bus.address}) as there:
        run = runner.words("-it", "--name=far", "--tls-verify=false", runner.source)
        left = await virtlayer_on_terminal(
            *("--host=there", *run),
            env=there.environment,
            answers=[("# ", "stty size\n"), ("30 100", "\x1d")],
        )
        assert left.status == 0, left.stdout
        assert 'The machine continues; "virtlayer console far" returns.' in left.stdout
        back = await virtlayer_on_terminal(
            *("--user", "--host=there", "console", "far"),
            env=there.environment,
            answers=[("Press Ctrl-] to leave.", "echo a''b\n"), ("ab", "exit 5\n")],
        )
        assert back.status == 0, back.stdout
        assert "The machine has stopped." in back.stdout
        logs = await virtlayer("--user", "--host=there", "logs", "far", env=there.environment)
        assert (logs.status, "30 100" in logs.stdout) == (0, True)


@in_soak
async def test_streams_of_a_machine_on_another_host(runner: Runner, tmp_path: Path) -> None:
    script = "cat; echo problem >&2; exit 7"
    with sshd(tmp_path, {"DBUS_SESSION_BUS_ADDRESS": runner.user.daemon.bus.address}) as there:
        run = runner.words("--rm", "-i", "--tls-verify=false", runner.source, "sh", "-c", script)
        typed = "line\n" * 100_000
        ended = await virtlayer("--host=there", *run, env=there.environment, stdin=typed)
        assert ended == Ended(7, typed, "problem\n")
        lost = runner.words("--name=lost", runner.source, "sh", "-c", "echo ready; sleep 1000")
        async with started("--host=there", *lost, env=there.environment) as process:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
            there.lose_connections()
            assert await process.wait() == 255
        # As after the end of a command without a connection.
        assert "lost running" in await runner.user.tell("ps", "--format", "{{.name}} {{.state}}")
