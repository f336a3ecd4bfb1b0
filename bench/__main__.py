# SPDX-License-Identifier: LGPL-2.1-or-later
"""``python -m bench``: runs the cases and tells how they went."""

import argparse
import datetime
import os
import signal
import sys
from collections.abc import Sequence

from tests.support.registry import Registry

from bench import places
from bench.cases import CASES
from bench.cases.case import Outcome, Setting
from bench.inputs import Inputs
from bench.machine import machine_facts
from bench.measure import Arena
from bench.ours import started_machine
from bench.publish import publish
from bench.report import Report
from bench.trees import WrongTree


def main() -> int:
    """Run what was asked for; the exit status is 1 if an output was wrong."""
    arguments = _parse_arguments()
    if os.geteuid() != 0:
        raise SystemExit("The peers mount and unpack as root; run the benchmark as root.")
    report = _measured(arguments.case or list(CASES), arguments.runs)
    print(report.text())
    report.write_json(places.RESULT)
    if arguments.publish:
        publish(report)
    return 1 if report.refused else 0


def _measured(cases: Sequence[str], runs: int) -> Report:
    outcomes: dict[str, Outcome] = {}
    refused: dict[str, str] = {}
    with places.scratch("machine") as directory, Registry(places.REGISTRY) as registry:
        inputs = Inputs(registry)
        (directory / "kept").mkdir()
        (directory / "bus").mkdir()
        with started_machine(inputs, directory / "bus") as machine:
            setting = Setting(Arena(inputs, runs), machine, directory / "kept")
            for name in cases:
                print(f"{name}: {CASES[name].__doc__}", flush=True)
                try:
                    outcomes[name] = CASES[name].measured(setting)
                except WrongTree as wrong:
                    refused[name] = str(wrong)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Report(now, machine_facts(), runs, outcomes, refused)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--case", choices=CASES, action="append", help="only this one; can be given several times"
    )
    parser.add_argument("--runs", type=int, default=3, help="of every contestant (default: 3)")
    parser.add_argument(
        "--publish", action="store_true", help="write table, picture and JSON into docs/"
    )
    arguments = parser.parse_args()
    if arguments.publish and arguments.case:
        parser.error("only a run of all cases can be published")
    return arguments


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
