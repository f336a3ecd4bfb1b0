# SPDX-License-Identifier: LGPL-2.1-or-later
"""``python -m bench``: runs the cases and tells how they went."""

import argparse
import datetime
import os
import signal
import sys
import traceback
from collections.abc import Iterator

from tests.support.registry import Registry

from bench import places, record
from bench.cases import CASES
from bench.cases.case import Case, Outcome, Setting
from bench.commands import stopwatch
from bench.inputs import Inputs
from bench.machine import commit, machine_facts
from bench.measure import Arena
from bench.ours import started_machine
from bench.publish import publish, refuse_changes
from bench.report import CaseReport, text
from bench.trees import WrongTree

_LARGEST_POOL = 5_000


def main() -> int:
    """Run what was asked for; the exit status is 1 if a case has no figures."""
    arguments = _parse_arguments()
    if os.geteuid() != 0:
        raise SystemExit("The peers mount and unpack as root; run the benchmark as root.")
    if arguments.publish:
        refuse_changes()
    report: dict[str, CaseReport] = {}
    for name, measured in _measured(arguments):
        print(f"{name}: {measured.minutes:.1f} minutes", flush=True)
        report[name] = measured
        # At once: a later case, or the end of this run, does not take these figures away.
        record.write(report, places.RESULT)
        if arguments.publish:
            publish(name, measured)
    print(text(report))
    return 1 if any(measured.refused for measured in report.values()) else 0


def _measured(arguments: argparse.Namespace) -> Iterator[tuple[str, CaseReport]]:
    with Registry(places.REGISTRY) as registry:
        # Before the figures of the first case change the documentation. The directory whose file
        # system is named is there: the registry has just made it in a new clone.
        measured, machine = commit(), machine_facts()
        inputs = Inputs(registry)
        for name in arguments.case or CASES:
            print(f"{name}: {CASES[name].__doc__}", flush=True)
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            with stopwatch() as watch:
                outcome, refused = _outcome(
                    CASES[name], inputs, arguments.runs, arguments.largest_pool
                )
            minutes = round(watch.seconds / 60, 1)
            yield (
                name,
                CaseReport(now, measured, machine, minutes, outcome, refused),
            )


def _outcome(
    case: Case, inputs: Inputs, runs: int, largest_pool: int = _LARGEST_POOL
) -> tuple[Outcome, str]:
    """Run a case on a machine of its own; return why it has no figures, too."""
    try:
        with places.scratch("machine") as directory:
            (directory / "kept").mkdir()
            (directory / "bus").mkdir()
            with started_machine(inputs, directory / "bus") as machine:
                arena, kept = Arena(inputs, runs), directory / "kept"
                setting = Setting(arena, machine, kept, largest_pool)
                return case.measured(setting), ""
    except WrongTree as wrong:
        return Outcome((), {}), str(wrong)
    # A program that failed, or virtlayer; the other cases can be measured all the same.
    except (Exception, SystemExit) as error:
        if _is_of_an_interrupt(error):
            raise KeyboardInterrupt from error
        traceback.print_exc()
        return Outcome((), {}), f"{type(error).__name__}: {error}"


def _is_of_an_interrupt(error: BaseException | None) -> bool:
    """Whether an error came up while an interrupt ended the case, and libvirtd with it."""
    while error and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--case", choices=CASES, action="append", help="only this one; can be given several times"
    )
    parser.add_argument("--runs", type=int, default=3, help="of every contestant (default: 3)")
    parser.add_argument(
        "--largest-pool",
        type=int,
        default=_LARGEST_POOL,
        help="leave out larger ones in the case growth (default: %(default)s images)",
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="write the figures of these cases into docs/: table, picture and JSON",
    )
    return parser.parse_args()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
