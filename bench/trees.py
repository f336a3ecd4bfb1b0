# SPDX-License-Identifier: LGPL-2.1-or-later
"""The oracle: umoci's unpacking of each image says what every contestant must have produced."""

import json
from pathlib import Path

from tests.support.trees import scan

from bench import places
from bench.commands import run
from bench.inputs import Image

type Listing = dict[str, str]
"""What is at each path, both in words."""

_WORDS = 2
"""Raised when ``tests.support.trees`` describes nodes in other words; trees are then made anew."""


class WrongTree(Exception):
    """An output is not what the image says; its time is worth nothing."""


class Oracle:
    """Knows the right tree of every image; what umoci made of it is kept for the next run."""

    def check(
        self, name: str, image: Image, reference: str, root: Path, *, ignoring: tuple[bytes, ...]
    ) -> None:
        """Compare a tree, entry by entry, with what umoci makes of the image.

        Args:
            name: Whose tree it is.
            image: What it was made of.
            reference: Where skopeo finds the image.
            root: The tree.
            ignoring: Paths that need not be right.

        Raises:
            WrongTree: They differ; it says where.
        """
        expected, found = self._expected(image, reference), _listing(root)
        skipped = {repr(path) for path in ignoring}
        wrong = [
            f"{path}\n  right: {expected.get(path)}\n  found: {found.get(path)}"
            for path in sorted((expected.keys() | found.keys()) - skipped)
            if expected.get(path) != found.get(path)
        ]
        if wrong:
            shown = "\n".join(wrong[:5])
            raise WrongTree(
                f'{name} made a wrong tree of "{image.name}": {len(wrong)} of {len(expected)}'
                f" entries differ, such as\n{shown}"
            )

    def _expected(self, image: Image, reference: str) -> Listing:
        kept = kept_tree(image)
        if not kept.exists():
            places.TREES.mkdir(parents=True, exist_ok=True)
            with places.scratch("oracle") as directory:
                copy = ("skopeo", "copy", "--src-tls-verify=false", reference)
                run(*copy, f"oci:{directory}/layout:image")
                bundle = directory / "bundle"
                run("umoci", "unpack", "--image", f"{directory}/layout:image", bundle)
                kept.write_text(json.dumps(_listing(bundle / "rootfs")))
        listing: Listing = json.loads(kept.read_text())
        return listing


def kept_tree(image: Image) -> Path:
    """Where the tree of an image is kept."""
    return places.TREES / f"{image.digest.removeprefix('sha256:')}-{_WORDS}.json"


def _listing(root: Path) -> Listing:
    return {repr(path): str(node) for path, node in scan(root).items()}
