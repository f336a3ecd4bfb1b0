# SPDX-License-Identifier: LGPL-2.1-or-later
"""The oracle: umoci's unpacking of each image says what every contestant must have produced."""

import difflib
import itertools
from pathlib import Path

from tests.trees import scan

from bench import places
from bench.commands import run
from bench.inputs import Image

_NOT_OF_THE_IMAGE = (b"lost+found",)


class WrongTree(Exception):
    """An output is not what the image says; its time is worth nothing."""


class Oracle:
    """Knows the right tree of every image; what umoci made of it is kept for the next run."""

    def check(self, name: str, image: Image, reference: str, root: Path) -> None:
        """Compare a tree, entry by entry, with what umoci makes of the image.

        Args:
            name: Whose tree it is.
            image: What it was made of.
            reference: Where skopeo finds the image.
            root: The tree.

        Raises:
            WrongTree: They differ; it says where.
        """
        expected, found = self._expected(image, reference), _listing(root)
        if expected != found:
            lines = difflib.unified_diff(
                expected.splitlines(), found.splitlines(), "right", "found", lineterm="", n=0
            )
            shown = "\n".join(itertools.islice(lines, 20))
            raise WrongTree(f"{name} made a wrong tree of “{image.name}”:\n{shown}")

    def _expected(self, image: Image, reference: str) -> str:
        kept = places.TREES / image.digest.removeprefix("sha256:")
        if not kept.exists():
            places.TREES.mkdir(parents=True, exist_ok=True)
            with places.scratch("oracle") as directory:
                copy = ("skopeo", "copy", "--src-tls-verify=false", reference)
                run(*copy, f"oci:{directory}/layout:image")
                bundle = directory / "bundle"
                run("umoci", "unpack", "--image", f"{directory}/layout:image", bundle)
                kept.write_text(_listing(bundle / "rootfs"))
        return kept.read_text()


def _listing(root: Path) -> str:
    """Everything that a tree consists of, a line for each entry."""
    return "".join(
        f"{path!r}: {node}\n"
        for path, node in sorted(scan(root).items())
        if path not in _NOT_OF_THE_IMAGE
    )
