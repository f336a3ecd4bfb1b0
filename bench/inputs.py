# SPDX-License-Identifier: LGPL-2.1-or-later
"""The reference images, made once and kept in the storage of the benchmark's registry.

Every directory that a layer changes is an entry of it, as real builders do it: otherwise the trees
of different unpackers differ in the times of directories.
"""

import dataclasses
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from tests.support.images import image
from tests.support.kernel import debian_kernel
from tests.support.registry import Registry
from tests.support.slow_link import SlowLink

from bench import places
from bench.archive import Layer, PendingLayer, new_layer
from bench.packages import add_packages, download

RECIPE = 1
"""Raised whenever the images change; those in the cache are then made anew."""

BIG_PACKAGES = ("python3", "python3-pip", "gcc", "g++", "git", "nodejs", "npm", "vim")
BASE_PACKAGES = ("base-files", "bash", "coreutils", "apt")
APP_PACKAGES = ("python3", "vim")
UPDATED_PACKAGES = ("libssl3t64", "zlib1g")
"""Of the base of ``RELEASES``, in the last of them."""
RELEASES = ("release", "release-next", "release-rebuilt")
"""An image of three layers, one with another last layer, and one whose base was built again."""
MANY = {f"many-{count // 1000}k": count for count in (25_000, 200_000)}
STEPS = (1, 11)
"""How many layers of 10 KB the two images have whose difference tells what one of them costs."""
RBD_STEPS = (1, 5)
"""The same for RBD pools, in which a chain has at most six layers."""
MACHINES = {"machine-10mb": 8_000_000, "machine-1gb": 10**9, "machine-5gb": 5 * 10**9}
"""Bytes that the images of machines have in addition to a shell of 2 MB."""
ALIKE = tuple(f"alike-{number}" for number in range(1, 5))
"""Images of one kind that share no blob."""
TINY = {f"tiny-{number:02}": round(10_000 * 100 ** (number / 49)) for number in range(50)}
"""Bytes in fifty images, from 10 KB to 1 MB."""
FAT = {"fat-512m": 512 * 1024**2, "fat": 4 * 1024**3}
SMALL_LAYERS = 18
SMALL = 100
"""The number of the first layer of an image that shares none with others."""
CONFIGURED = 200
"""Images with a base and a small layer each, which are kept up to date."""
LEVEL = 3
"""How hard layers of packages are compressed."""
_ALIKE_FILES = 25_000
_TINY_FILES = 10


@dataclass(frozen=True, slots=True)
class Image:
    """An image in the registry.

    Attributes:
        name: What the benchmark calls it.
        digest: Of its manifest.
        layers: Base first.
    """

    name: str
    digest: str
    layers: tuple[Layer, ...]

    @property
    def repository(self) -> str:
        """``repository:tag`` in the registry."""
        return f"bench/{self.name}:1"

    @property
    def entries(self) -> int:
        """Archive members in all layers."""
        return sum(layer.entries for layer in self.layers)

    @property
    def unpacked(self) -> int:
        """Bytes of all archives."""
        return sum(layer.unpacked for layer in self.layers)


class Inputs:
    """Makes an image when it is first asked for, and finds it again in the next run.

    Args:
        registry: Whose storage has the images.
        host: Where clients reach it; None for its own address.
    """

    def __init__(self, registry: Registry, host: str | None = None) -> None:
        self._registry = registry
        self._host = host
        self._makers: dict[str, Callable[[], Sequence[Layer]]] = {
            "big": self._big,
            **{name: partial(self._fat, size) for name, size in FAT.items()},
            "layered": partial(self._layered, ""),
            "layered-next": partial(self._layered, "another"),
            **{name: partial(self._many, count) for name, count in MANY.items()},
            **{
                name: partial(self._many, _ALIKE_FILES, seed=number)
                for number, name in enumerate(ALIKE)
            },
            **{name: partial(self._tiny, name, size) for name, size in TINY.items()},
            **{f"steps-{count}": partial(self._steps, count) for count in {*STEPS, *RBD_STEPS}},
            **{name: partial(self._shell, name, size) for name, size in MACHINES.items()},
            "machine-kernel": self._kernel,
            "small": lambda: [self._step(SMALL), self._step(SMALL + 1)],
            **{f"configured-{one}": partial(self._configured, one) for one in range(CONFIGURED)},
            "release": partial(self._release, "1", "1"),
            "release-next": partial(self._release, "1", "2"),
            "release-rebuilt": partial(self._release, "2", "2"),
        }

    def over(self, link: SlowLink) -> "Inputs":
        """The same, for clients that reach the registry over a link."""
        port = link.forward("127.0.0.1", self._registry.port)
        return Inputs(self._registry, f"127.0.0.1:{port}")

    def image(self, name: str) -> Image:
        """The image of that name."""
        record = places.RECORDS / f"{name}.json"
        if record.exists():
            kept = json.loads(record.read_text())
            if kept["recipe"] == RECIPE:
                layers = tuple(Layer(**layer) for layer in kept["layers"])
                return Image(name, kept["digest"], layers)
        print(f'making the image "{name}" …', flush=True)
        made = self._stored(name, self._makers[name]())
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"recipe": RECIPE, **dataclasses.asdict(made)}, indent=1))
        return made

    def reference(self, image: Image) -> str:
        """Where skopeo and virtlayer find it; the registry must run."""
        if self._host is not None:
            return f"docker://{self._host}/{image.repository}"
        return self._registry.reference(image.repository)

    def blobs(self, image: Image) -> list[Path]:
        """The files of its layers' blobs."""
        return [self._registry.blob_path(layer.digest) for layer in image.layers]

    def _stored(self, name: str, layers: Sequence[Layer]) -> Image:
        content = image([layer.described() for layer in layers])
        config = {content.config_digest: content.blobs[content.config_digest]}
        made = Image(name, content.digest, tuple(layers))
        self._registry.store(dataclasses.replace(content, blobs=config), made.repository)
        repositories = self._registry.storage / "docker/registry/v2/repositories"
        for layer in layers:
            link = repositories / f"bench/{name}/_layers" / layer.digest.replace(":", "/")
            link.mkdir(parents=True, exist_ok=True)
            (link / "link").write_text(layer.digest)
        return made

    def _big(self) -> list[Layer]:
        with new_layer(self._registry, level=LEVEL) as pending:
            files = add_packages(pending.writer, download(BIG_PACKAGES))
        (places.CACHE / "big-files.json").write_text(json.dumps(files))
        return [pending.finished()]

    def _fat(self, size: int) -> list[Layer]:
        with new_layer(self._registry, level=0) as pending:
            pending.writer.add_directory(".")
            pending.writer.add_random_file("fat", size)
        return [pending.finished()]

    def _shell(self, line: str, size: int) -> list[Layer]:
        with new_layer(self._registry, level=0) as pending:
            _add_parents(pending, "bin/sh")
            pending.writer.add_program("bin/sh", Path("/bin/busybox").read_bytes())
            pending.writer.add_file("line", f"{line}\n".encode())
            pending.writer.add_random_file("more", size)
        return [pending.finished()]

    def _kernel(self) -> list[Layer]:
        """Debian's kernel for machines, with its modules."""
        kernel = debian_kernel()
        modules = {path for path in kernel.modules.rglob("*") if path.is_file()}
        names = {
            f"usr/lib/modules/{path.relative_to(kernel.modules.parent)}": path for path in modules
        } | {f"boot/{kernel.image.name}": kernel.image}
        with new_layer(self._registry) as pending:
            _add_parents(pending, *names)
            for name in sorted(names):
                pending.writer.add_file(name, names[name].read_bytes())
        return [pending.finished()]

    def _many(self, count: int, seed: int | None = None) -> list[Layer]:
        seed = count if seed is None else seed
        chance = random.Random(seed)  # noqa: S311 -- the same files every time
        text = chance.randbytes(40_000).hex().encode()
        with new_layer(self._registry) as pending:
            pending.writer.add_directory(".")
            for number in range(count):
                directory = f"files/{number // 10_000:02}/{number % 10_000 // 100:02}"
                if number % 100 == 0:
                    _add_parents(pending, f"{directory}/x")
                start = chance.randrange(40_000)
                content = text[start : start + chance.randrange(4_000)]
                pending.writer.add_file(f"{directory}/{number:06}.txt", content)
        return [pending.finished()]

    def _tiny(self, name: str, size: int) -> list[Layer]:
        chance = random.Random(name)  # noqa: S311 -- the same files every time
        with new_layer(self._registry) as pending:
            _add_parents(pending, "srv/x")
            for number in range(_TINY_FILES):
                content = chance.randbytes(size // _TINY_FILES)
                pending.writer.add_file(f"srv/{name}-{number}", content)
        return [pending.finished()]

    def _steps(self, count: int) -> list[Layer]:
        return [self._step(number) for number in range(count + 1)]

    def _configured(self, number: int) -> list[Layer]:
        return [self._step(0), self._step(1_000 + number)]

    def _step(self, number: int) -> Layer:
        content = random.Random(number).randbytes(10_000)  # noqa: S311 -- the same every time
        with new_layer(self._registry) as pending:
            pending.writer.add_directory(".")
            pending.writer.add_file(f"step-{number}", content)
        return pending.finished()

    def _release(self, build: str, version: str) -> list[Layer]:
        """A base, packages and a small layer.

        Args:
            build: Every layer of another build has other archives; the base has updates.
            version: Of the small layer.
        """
        updated = UPDATED_PACKAGES if build != "1" else ()
        with new_layer(self._registry, level=LEVEL) as base:
            add_packages(base.writer, download(BASE_PACKAGES), updated=updated)
        with new_layer(self._registry, level=LEVEL) as app:
            add_packages(app.writer, download(APP_PACKAGES))
            # No name twice: then it can be compressed as zstd:chunked.
            app.writer.add_directory("build")
            app.writer.add_file("build/app", build.encode())
        with new_layer(self._registry) as last:
            _add_parents(last, "srv/x", "build/x")
            last.writer.add_file("build/last", build.encode())
            chance = random.Random(version)  # noqa: S311 -- the same every time
            last.writer.add_file("srv/program", chance.randbytes(1_000_000))
        return [pending.finished() for pending in (base, app, last)]

    def _layered(self, variant: str) -> list[Layer]:
        with new_layer(self._registry, level=LEVEL) as pending:
            add_packages(pending.writer, download(BASE_PACKAGES))
        big = self.image("big").layers
        files = json.loads((places.CACHE / "big-files.json").read_text())
        variants = [""] * (SMALL_LAYERS - 1) + [variant]
        small = [
            self._small_layer(number, files, variant) for number, variant in enumerate(variants)
        ]
        return [pending.finished(), *big, *small]

    def _small_layer(self, number: int, files: Sequence[str], variant: str) -> Layer:
        """Forty files of the big layer are replaced, forty deleted, and one is new."""
        chance = random.Random(number)  # noqa: S311 -- the same every time
        chosen = sorted(chance.sample(files, 80))
        with new_layer(self._registry) as pending:
            _add_parents(pending, "./x", *chosen, "etc/x")
            for position, path in enumerate(chosen):
                if position % 2:
                    pending.writer.add_file(path, chance.randbytes(200))
                else:
                    gone = PurePosixPath(path)
                    pending.writer.add_file(str(gone.with_name(f".wh.{gone.name}")), b"")
            pending.writer.add_file("etc/layer", f"{number}{variant}\n".encode())
        return pending.finished()


def _add_parents(pending: PendingLayer, *paths: str) -> None:
    parents = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    for parent in sorted(parents - pending.directories):
        pending.writer.add_directory(parent)
    pending.directories |= parents
