# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the figures were measured on."""

import os
import platform
import re
from pathlib import Path

from bench.commands import run
from bench.places import CACHE, REPOSITORY

_VERSIONS = {
    "skopeo": ("skopeo", "--version"),
    "umoci": ("umoci", "--version"),
    "podman": ("podman", "--version"),
    "qemu-img": ("qemu-img", "--version"),
    "libvirt": ("libvirtd", "--version"),
    "tar": ("tar", "--version"),
    "igzip": ("igzip", "--version"),
}


def machine_facts() -> dict[str, str]:
    """The machine and the versions of what ran on it, by name."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    assert memory
    facts = {
        "processor": f"{os.cpu_count()} of {cpu[1] if cpu else platform.machine()}",
        "memory": f"{int(memory[1]) / 1024**2:.0f} GiB",
        "kernel": platform.release(),
        "file system": run("findmnt", "--noheadings", "--output=FSTYPE", "--target", CACHE).strip(),
        "python": platform.python_version(),
    }
    return facts | {name: _version(*command) for name, command in _VERSIONS.items()}


def changes() -> str:
    """What is measured and in no commit, as git prints it; the documents do not count."""
    return run("git", "-C", REPOSITORY, "status", "--porcelain", "--", ".", ":!docs")


def commit() -> str:
    """What is measured."""
    last = run("git", "-C", REPOSITORY, "describe", "--always").strip()
    return f"{last}-dirty" if changes() else last


def _version(*command: str) -> str:
    found = re.search(r"\d+(\.\d+)+", run(*command))
    return found[0] if found else "?"
