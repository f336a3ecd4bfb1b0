# SPDX-License-Identifier: LGPL-2.1-or-later
"""The virtlayer command against a scripted service: timing, faults, secrets, terminals."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from tests.bus.stand_in import ScriptedJob, stand_in
from tests.support.bus_daemon import Bus
from tests.support.command import COMMAND, started, virtlayer, virtlayer_on_terminal
from virtlayer.dbus import names
from virtlayer.dbus.connection import Connection

PASSWORD = "swordfish-7hk3"


async def succeed(job: ScriptedJob) -> None:
    job.get_on(0.25, "downloading", 1024, 4096)
    job.get_on(0.75, "applying", 4096, 4096)
    job.end("done")


async def fail(job: ScriptedJob) -> None:
    job.end("failed", "RegistryAuth", "The registry wants a password; use --username.")


async def run_until_cancelled(job: ScriptedJob) -> None:
    job.get_on(0.5, "downloading", 2048, 4096)
    await job.cancelled.wait()
    job.end("cancelled", "Cancelled", "The job was cancelled.")


async def test_a_job_that_ends_before_pull_has_replied_is_not_missed(bus: Bus) -> None:
    async with stand_in(bus.address, succeed) as service:
        ended = await virtlayer("--user", "pull", "docker://d/demo:1", env=bus.environment)
    assert ended.status == 0, ended.stderr
    assert ended.stdout == "demo:1: /pool/layer-1.qcow2 (pulled: 2 layers built, 0 reused)\n"
    assert (service.source, service.pool) == ("docker://d/demo:1", "default")


async def test_json_is_one_document_on_stdout_and_lines_on_stderr(bus: Bus) -> None:
    async def slowly(job: ScriptedJob) -> None:
        await job.awaited.wait()
        await succeed(job)

    async with stand_in(bus.address, slowly):
        ended = await virtlayer("--user", "--json", "pull", "d", env=bus.environment)
    result = json.loads(ended.stdout)
    assert result["volumes"] == ["layer-0.qcow2", "layer-1.qcow2"]
    assert result["bytes_downloaded"] == 4096
    steps = [json.loads(line) for line in ended.stderr.splitlines()]
    assert steps[-1] == {
        "progress": 0.75,
        "stage": "applying",
        "bytes_done": 4096,
        "bytes_total": 4096,
    }


async def test_a_failed_job_is_an_error_with_its_own_status(bus: Bus) -> None:
    async with stand_in(bus.address, fail):
        ended = await virtlayer("--user", "pull", "d", env=bus.environment)
    assert ended.status == 4
    assert ended.stderr == "virtlayer: The registry wants a password; use --username.\n"
    assert ended.stdout == ""


async def test_a_failed_job_is_an_error_in_json_too(bus: Bus) -> None:
    async with stand_in(bus.address, fail):
        ended = await virtlayer("--user", "pull", "d", "--json", env=bus.environment)
    assert ended.status == 4
    assert json.loads(ended.stderr.splitlines()[-1]) == {
        "error": "RegistryAuth",
        "message": "The registry wants a password; use --username.",
    }


async def test_ctrl_c_cancels_the_job_and_waits_for_its_end(bus: Bus) -> None:
    async with (
        stand_in(bus.address, run_until_cancelled) as service,
        started("--user", "pull", "d", env=bus.environment) as process,
    ):
        assert process.stderr is not None
        await process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, stderr = await process.communicate()
        assert process.returncode == 130
        assert stderr.decode() == "virtlayer: The job was cancelled.\n"
        assert service.job.cancelled.is_set()


async def test_job_cancelled_by_another_client_is_reported(bus: Bus) -> None:
    async def cancelled_elsewhere(job: ScriptedJob) -> None:
        job.end("cancelled", "Cancelled", "The job was cancelled.")

    async with stand_in(bus.address, cancelled_elsewhere):
        ended = await virtlayer("--user", "pull", "d", env=bus.environment)
    assert ended.status == 130


async def test_stopped_daemon_is_reported(bus: Bus) -> None:
    async with stand_in(bus.address, run_until_cancelled) as service:
        async with started("--user", "pull", "d", env=bus.environment) as process:
            assert process.stderr is not None
            await process.stderr.readline()
            await service.connection.close()
            _, stderr = await process.communicate()
            assert process.returncode == 5
        assert stderr.decode().startswith("virtlayer: virtlayerd stopped before job 7 finished.")
        service.job.cancelled.set()


async def test_stopped_bus_is_reported(bus: Bus) -> None:
    async def wait_for_the_end(job: ScriptedJob) -> None:
        job.get_on(0.5, "downloading", 2048, 4096)

    async with (
        stand_in(bus.address, wait_for_the_end),
        started("--user", "pull", "d", env=bus.environment) as process,
    ):
        assert process.stderr is not None
        await process.stderr.readline()
        os.kill(bus.pid, signal.SIGTERM)
        _, stderr = await process.communicate()
        assert process.returncode == 5
        assert stderr.decode().startswith("virtlayer: ")
        assert "Traceback" not in stderr.decode()


async def test_signals_from_other_senders_are_ignored(bus: Bus) -> None:
    async def lied_about(job: ScriptedJob) -> None:
        job.get_on(0.5, "downloading", 2048, 4096)
        stranger = await Connection.opened(session=True, address=bus.address)
        [recipients] = await stranger.ask(
            names.BUS_SERVICE, names.BUS_PATH, names.BUS_SERVICE, "ListNames"
        )
        for recipient in recipients:
            to = ("emit", "--destination", recipient, names.job_path(7))
            bus.busctl(*to, names.JOB, "Finished", "sss", "failed", "Internal", "a lie")
            bus.busctl(*to, names.JOB, "ProgressChanged", "dstt", "0.9", "a lie", "1", "1")
            values = ("2", "State", "s", "failed", "Message", "s", "a lie")
            bus.busctl(
                *to, names.PROPERTIES, "PropertiesChanged", "sa{sv}as", names.JOB, *values, "0"
            )
        await stranger.close()
        job.end("done")

    async with stand_in(bus.address, lied_about):
        ended = await virtlayer("--user", "pull", "d", env=bus.environment)
    assert ended.status == 0, ended.stderr
    assert "a lie" not in ended.stderr


@pytest.fixture
def authfile(tmp_path: Path) -> Path:
    path = tmp_path / "auth.json"
    path.write_text('{"auths": {"x.test": {"auth": "bWU6cGFpcg=="}}}')
    path.chmod(0o600)
    return path


async def test_options_reach_the_service(bus: Bus, authfile: Path, tmp_path: Path) -> None:
    async with stand_in(bus.address, succeed) as service:
        ended = await virtlayer(
            *("--user", "pull", "docker://d/x", "fast", "--name=x", "--platform=linux/arm64"),
            *("--size=20G", "--no-cache", "--tls-verify=false", f"--cert-dir={tmp_path}"),
            *("--username=me", "--password-stdin"),
            env=bus.environment | {"REGISTRY_AUTH_FILE": str(authfile)},
            stdin=f"{PASSWORD}\n",
        )
    assert ended.status == 0, ended.stderr
    assert service.pool == "fast"
    # The authfile of the environment gives way to what the command line says.
    assert service.options == {
        "name": "x",
        "platform": "linux/arm64",
        "size": 20 * 2**30,
        "cache": False,
        "tls-verify": False,
        "cert-dir": str(tmp_path),
        "username": "me",
        "password": PASSWORD,
    }
    assert PASSWORD not in ended.stdout + ended.stderr


@pytest.mark.parametrize("named_by", ["option", "environment"])
async def test_the_content_of_an_authfile_reaches_the_service(
    bus: Bus, authfile: Path, named_by: str
) -> None:
    option, variable = {
        "option": ([f"--authfile={authfile}"], {}),
        "environment": ([], {"REGISTRY_AUTH_FILE": str(authfile)}),
    }[named_by]
    async with stand_in(bus.address, succeed) as service:
        ended = await virtlayer("--user", "pull", "d", *option, env=bus.environment | variable)
    assert ended.status == 0, ended.stderr
    assert service.options == {"auth-fd": 0}
    assert service.authfile == authfile.read_bytes()


async def test_a_password_is_asked_for_on_a_terminal_and_not_echoed(bus: Bus) -> None:
    async with stand_in(bus.address, succeed) as service:
        ended = await virtlayer_on_terminal(
            *("--user", "pull", "d", "--username=me"),
            env=bus.environment,
            answers=[("Password of me: ", PASSWORD)],
        )
    assert ended.status == 0, ended.stdout
    assert service.options["password"] == PASSWORD
    assert PASSWORD not in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["pull"], 2, "SOURCE"),
        (["pull", "d", "--password=x"], 2, "Unknown option --password"),
        (["pull", "d", "--size=big"], 2, "20G"),
        (["pull", "d", "--size=0"], 2, "--size"),
        (["pull", "d", "--size=64T"], 2, "--size: Invalid size: 64 TiB"),
        (["pull", "d", "--volume-size=1M"], 2, "--volume-size: Invalid size: 1 MiB"),
        (["create-volume", "i", "v", "--size=8388608T"], 2, "--size: "),
        (["pull", "d", "--username=me"], 2, "--password-stdin"),
        (["pull", "d", "--password-stdin"], 2, "--username"),
        (["pull", "d", "--authfile=/nowhere"], 2, "/nowhere"),
        (["pull", "d", "--tls-verify=maybe"], 2, "true"),
        (["cancel", "x"], 2, "job ID"),
        (["cancel", "9"], 3, "virtlayer jobs"),
    ],
)
async def test_invalid_arguments_are_refused(
    bus: Bus, arguments: list[str], status: int, told: str
) -> None:
    async with stand_in(bus.address, succeed):
        ended = await virtlayer("--user", *arguments, env=bus.environment)
    assert ended.status == status, ended
    assert told in ended.stderr
    assert ended.stdout == ""


async def test_local_sources_get_absolute_paths(bus: Bus) -> None:
    async with stand_in(bus.address, succeed) as service:
        await virtlayer("--user", "pull", "oci:some/where:tag", env=bus.environment)
    assert service.source == f"oci:{Path.cwd()}/some/where:tag"


async def test_no_wait_prints_the_number_only(bus: Bus) -> None:
    async with stand_in(bus.address, succeed):
        ended = await virtlayer("--user", "pull", "d", "--no-wait", env=bus.environment)
    assert (ended.status, ended.stdout, ended.stderr) == (0, "7\n", "")


async def test_inspect_reads_well_in_lines_and_in_json(bus: Bus) -> None:
    async with stand_in(bus.address, succeed):
        lines = await virtlayer("--user", "inspect", "docker://d", env=bus.environment)
        document = await virtlayer("--user", "inspect", "docker://d", "--json", env=bus.environment)
    assert "     platform: linux/amd64\n" in lines.stdout
    assert "               linux/arm64/v8\n" in lines.stdout
    assert lines.stdout.endswith(f"sha256:{'a' * 64}  2 KiB\n         size: 2 KiB, compressed\n")
    inspection = json.loads(document.stdout)
    assert inspection["config"] == {"os": "linux"}
    assert inspection["layers"][0]["compressed_size"] == 2048


async def test_escape_sequences_of_others_do_not_reach_the_terminal(bus: Bus) -> None:
    async with stand_in(bus.address, succeed):
        images = await virtlayer_on_terminal("--user", "images", env=bus.environment)
        inspected = await virtlayer("--user", "inspect", "docker://d", env=bus.environment)
    assert "\x1b[31mred" not in images.stdout
    assert r"\x1b[31mred" in images.stdout
    assert "\x1b" not in inspected.stdout


@pytest.mark.parametrize("arguments", [["images"], ["images", "--json"]])
async def test_missing_service_is_reported(bus: Bus, arguments: list[str]) -> None:
    ended = await virtlayer("--user", *arguments, env=bus.environment)
    assert ended.status == 5
    assert "virtlayerd --session" in ended.stderr


async def test_missing_bus_is_reported() -> None:
    nowhere = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nowhere", "PATH": "/usr/bin"}
    ended = await virtlayer("images", env=nowhere)
    assert ended.status == 5
    assert "/nowhere" in ended.stderr
    assert "--user" in ended.stderr


async def test_the_help_lists_the_exit_statuses(bus: Bus) -> None:
    ended = await virtlayer("--help", env=bus.environment)
    assert ended.status == 0
    assert "  130  cancelled" in ended.stdout


async def test_a_closed_output_does_not_crash_the_command(bus: Bus) -> None:
    async with stand_in(bus.address, succeed):
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-c", 'exec 3>&1; "$0" --user images 2>&3 | true; exit "${PIPESTATUS[0]}"'),
            COMMAND,
            env=bus.environment,
            stdout=asyncio.subprocess.PIPE,
        )
        told, _ = await shell.communicate()
    assert b"Traceback" not in told
