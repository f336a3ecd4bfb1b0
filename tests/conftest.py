# SPDX-License-Identifier: LGPL-2.1-or-later
"""Selects the tests that run by default and as root, and checks what they leave behind."""

import contextlib
import inspect
import signal
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from tests.support import logs, root_tests
from tests.support.leftovers import assert_no_staging_left, no_task_left, nothing_left
from tests.support.libvirt_host import running_hosts
from tests.support.not_tested import NotTested
from tests.support.soak import FACTOR

_ACCEPTANCE = Path(__file__).parent / "acceptance"
_UNIT = Path(__file__).parent / "unit"

_CHECK = (
    "tests/unit/",
    "tests/bus/",
    "tests/keeper/",
    "tests/worker/",
    # One real run of each use case: pull, volume, directory, disk, a machine that boots, remove,
    # prune, populate, a second host
    "tests/integration/test_pull.py",
    "tests/integration/test_create_volume.py::test_a_volume_is_an_overlay_that_libvirt_knows",
    "tests/integration/test_create_volume.py::test_volume_has_the_requested_customizations",
    "tests/integration/test_pull_whole.py::test_an_image_becomes_a_directory_that_libvirt_lists",
    "tests/integration/test_pull_whole.py::test_the_disk_in_an_image_becomes_a_volume",
    "tests/machines/test_start_domain.py::test_machine_starts_and_stops_by_its_signal",
    "tests/guest/test_boot.py",
    "tests/integration/test_remove.py::test_layers_that_another_image_needs_stay",
    "tests/integration/test_remove.py::test_prune_deletes_only_layers_that_nothing_needs",
    "tests/integration/test_populate.py::test_a_moved_tag_downloads_only_changed_layers",
    "tests/integration/test_pool_of_hosts.py::test_volume_is_created_on_an_image_that_another_host",
)
"""How the names of the tests of `make check` begin."""

_CHECK_FULL = (
    # It needs podman.
    "tests/unit/test_bench.py::test_first_run_in_a_new_clone_makes_its_directory",
    # They take long, or compare with umoci what another test compares with a model.
    "tests/worker/test_conformance.py::test_case_with_umoci",
    "tests/worker/test_oracle.py",
    "tests/keeper/domains/test_kvm.py",
    "tests/worker/test_limits.py::test_file_of_5_gib",
)
"""What is left out of these. All tests that are not of `make check` are marked ``full``."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out tests/acceptance unless it is named: it wants the packages, and to be root."""
    if collection_path != _ACCEPTANCE:
        return None
    named = (Path(config.invocation_params.dir, arg.split("::")[0]) for arg in config.args)
    return None if any(path.is_relative_to(_ACCEPTANCE) for path in named) else True


def pytest_addoption(parser: pytest.Parser) -> None:
    what = "fail if something is not tested for want of something, and is not a line of FILE"
    parser.addoption("--not-tested", metavar="FILE", type=Path, help=what)


def pytest_configure(config: pytest.Config) -> None:
    file = config.getoption("not_tested")
    config.pluginmanager.register(NotTested(file and config.invocation_params.dir / file))
    config.addinivalue_line("markers", "in_soak: runs only in make soak; see soak.py")
    # A shell without job control starts a background job that ignores them, as would our commands.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    config.addinivalue_line("markers", "full: only in make check-full, because it takes long")
    config.addinivalue_line("markers", "root: the test's own process must be root; see root_tests")


def pytest_itemcollected(item: pytest.Item) -> None:
    if not item.nodeid.startswith(_CHECK) or item.nodeid.startswith(_CHECK_FULL):
        item.add_marker("full")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if FACTOR == 1 and (soaked := [item for item in items if item.get_closest_marker("in_soak")]):
        config.hook.pytest_deselected(items=soaked)
        items[:] = [item for item in items if item not in soaked]
    root_tests.hand_over(items)
    # The files with quick tests come last: the processes of pytest-xdist then end together.
    items.sort(key=lambda item: item.path.is_relative_to(_UNIT))
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function):
            # Before the others: what is set up first is torn down last.
            item.fixturenames.insert(0, "tasks_settled")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    logs.begin()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the service, the keeper, libvirtd and machines wrote during a failed test."""
    report = yield
    if report.failed:
        report.sections.extend(logs.sections())
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    root_tests.record(report)


@pytest.fixture(autouse=True)
def settled() -> Iterator[None]:
    """Fail a test that leaves a process, a descriptor, a lock or an unfinished file in a pool.

    A test during which a libvirtd crashes fails as well. A pool that a failed test leaves is
    stopped: other tests list all pools.
    """
    with contextlib.ExitStack() as stack:
        for host in running_hosts:
            stack.enter_context(host.no_pool_left())
            stack.callback(host.assert_running)
        stack.callback(assert_no_staging_left)
        with nothing_left():
            yield


@pytest.fixture
async def tasks_settled() -> AsyncIterator[None]:
    """Fail a coroutine test that leaves a task."""
    with no_task_left():
        yield
