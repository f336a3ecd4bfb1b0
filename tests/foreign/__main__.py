# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compare virtlayer with GNU tar, bsdtar and umoci, on archives and images that others made.

``python -m tests.foreign CORPUS [PATTERN]``, as root; the corpus is a directory or an archive of
one, and a pattern (as for a shell) limits it to some names. Differences without a reason in
docs/layers.md are printed and make it fail; so do reasons without a difference.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from tests.foreign import virtlayer_outcome
from tests.foreign.comparison import Check, Refusal, compared
from tests.foreign.corpus import ForeignArchive, archives, images, unpacked
from tests.foreign.reasons import Reason, reasons, unexplained, unneeded
from tests.foreign.tools import TOOLS, UMOCI, umoci_of_image
from tests.support.keeper import LocalPrograms
from virtlayer.service.workers.layer import LayerWorker
from virtlayer.settings import LayerSettings


async def main() -> int:
    """Check everything, and print what came of it; the exit status."""
    given = _arguments()
    known = reasons()
    with unpacked(given.corpus) as corpus:
        async with LayerWorker.started(LocalPrograms(), LayerSettings()) as worker:
            of_archives = [
                check
                for archive in archives(corpus)
                if fnmatchcase(archive.name, given.pattern)
                async for check in _archive_checks(worker, archive)
            ]
            of_images = [
                await _image_check(worker, one.name, one.reference)
                for one in images(corpus)
                if fnmatchcase(one.name, given.pattern)
            ]
    _print_summary("archives", of_archives)
    _print_summary("images", of_images)
    checks = [*of_archives, *of_images]
    new = unexplained(checks, known)
    old = unneeded(known, checks) if given.pattern == "*" else []
    _print_problems(new, old)
    return 1 if new or old else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.foreign", description=__doc__)
    parser.add_argument("corpus", type=Path, help="a directory with tars/ and images/, or its tar")
    parser.add_argument("pattern", nargs="?", default="*", help="of names; the default is all")
    return parser.parse_args()


async def _archive_checks(worker: LayerWorker, archive: ForeignArchive) -> AsyncIterator[Check]:
    if archive.unsupported:
        yield await _compression_check(worker, archive)
        archive = archive.uncompressed()
    with tempfile.TemporaryDirectory() as work:
        ours = await virtlayer_outcome.of_archive(worker, archive, Path(work))
    for tool, outcome_of in TOOLS.items():
        with tempfile.TemporaryDirectory() as work:
            theirs = await asyncio.to_thread(outcome_of, archive, Path(work))
        yield compared(archive.name, tool, ours, theirs)


async def _compression_check(worker: LayerWorker, archive: ForeignArchive) -> Check:
    """An archive whose compression we do not support is refused for that."""
    with tempfile.TemporaryDirectory() as work:
        ours = await virtlayer_outcome.of_archive(worker, archive, Path(work))
    wanted = f"unsupported compression {archive.unsupported}"
    refused = isinstance(ours, Refusal) and wanted in ours.message
    lines = () if refused else (f"it must be refused, because of {wanted}: {ours}",)
    return Check(archive.name, "as it is", lines, refused=refused)


async def _image_check(worker: LayerWorker, name: str, reference: str) -> Check:
    with tempfile.TemporaryDirectory() as work:
        ours = await virtlayer_outcome.of_image(worker, reference, Path(work))
    with tempfile.TemporaryDirectory() as work:
        theirs = await asyncio.to_thread(umoci_of_image, reference, Path(work))
    return compared(name, UMOCI, ours, theirs)


def _print_summary(what: str, checks: Sequence[Check]) -> None:
    names = len({check.name for check in checks})
    agreeing = [check for check in checks if not check.differences]
    refused = sum(check.refused for check in agreeing)
    print(
        f"{names} {what}, {len(checks)} checks: {len(agreeing) - refused} have the same tree, "
        f"{refused} are refused by both, {len(checks) - len(agreeing)} differ"
    )


def _print_problems(new: Sequence[Check], old: Sequence[Reason]) -> None:
    for check in new:
        print(f"\n{check.name}, {check.tool}: a difference that docs/layers.md does not explain")
        for line in check.differences:
            print(f"    {line[:500]}")
    for reason in old:
        print(f"\n{reason.pattern}, {reason.tool}: docs/layers.md explains it, but nothing differs")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
