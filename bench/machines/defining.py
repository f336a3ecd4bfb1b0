# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines that are made and not started."""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from bench.commands import stopwatch
from bench.inputs import Image
from bench.machines.calls import create, remove
from bench.machines.place import AtPlace
from bench.result import Finished, finished_with

_TIMES = 10
_MODEL = "m"


class NotStarted(AtPlace):
    """CreateDomain with ``start`` false; the time is the median of several."""

    title = "CreateDomain without start"

    @contextlib.contextmanager
    def __call__(self, image: Image, _directory: Path) -> Iterator[Finished]:
        """Make machines."""
        place = self._place
        names = [f"m-{number}" for number in range(_TIMES)]
        with place.nothing_left():
            times = [place.asked(partial(create, image=image, name=name)) for name in names]
            for name in names:
                place.asked(partial(remove, name=name))
        yield finished_with(times)


class VolumeAndDefine(AtPlace):
    """CreateVolume, and ``virsh define`` of a machine's XML with that volume."""

    title = "CreateVolume and virsh define"

    @contextlib.contextmanager
    def __call__(self, image: Image, directory: Path) -> Iterator[Finished]:
        """Make volumes and domains."""
        place = self._place
        with place.nothing_left():
            place.asked(partial(create, image=image, name=_MODEL))
            text = place.virsh("dumpxml", "--inactive", "--security-info", _MODEL)
            times = []
            for number in range(_TIMES):
                name = f"o-{number}"
                xml = directory / f"{name}.xml"
                xml.write_text(_renamed(text, name))
                volume, _ = place.installation.create_volume(image, f"{name}.qcow2")
                with stopwatch() as defining:
                    place.virsh("define", xml)
                times.append(volume.seconds + defining.seconds)
                place.virsh("undefine", name)
                place.installation.remove_volume(f"{name}.qcow2")
            place.asked(partial(remove, name=_MODEL))
        yield finished_with(times)


def _renamed(xml: str, name: str) -> str:
    """Return the XML for another machine with a volume of its own."""
    root = ElementTree.fromstring(xml)  # noqa: S314 -- of our libvirtd
    for tag in ("name", "uuid"):
        element = root.find(tag)
        assert element is not None, "every domain has both"
        if tag == "name":
            element.text = name
        else:
            root.remove(element)
    text = ElementTree.tostring(root, encoding="unicode")
    return text.replace(f"/{_MODEL}.qcow2", f"/{name}.qcow2")
