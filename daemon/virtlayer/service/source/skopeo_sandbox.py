# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sandbox for skopeo, which connects to registries and parses their data first.

skopeo runs as the service's own user, and so could read every file that the service can read.
confine.c removes this access with Landlock, where the kernel supports it. skopeo can then read
programs, the host's configuration of registries and networks, and the files of its one source. It
can write temporary files, and cannot trace or signal processes outside the sandbox.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_CONFINE = Path(__file__).parents[2] / "confine"
_PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/alternatives", "/etc/ld.so.cache")
_CONFIGURATION = (
    "/etc/containers",
    "/etc/docker",
    "/var/lib/containers/sigstore",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
)
_NETWORK = (
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    # The target of the symlink resolv.conf; it is replaced when the network changes.
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/systemd/resolve",
)
_SYSTEM = (
    "/dev/random",
    "/dev/urandom",
    "/etc/group",
    "/etc/localtime",
    "/etc/passwd",
    "/proc/self",
    "/proc/sys",
    "/sys/fs/cgroup",
    "/sys/kernel/mm",
)
_OF_USERS = (".config/containers", ".local/share/containers/sigstore")
"""Below the home directory, which is empty for the system service."""

_FILE_URL = re.compile(r"\bfile://(/[^\s\"'#]+)")


def confinement(
    reads: Iterable[Path], writes: Iterable[Path], file_size: int
) -> tuple[str | Path, ...]:
    """Return the command that runs skopeo's command line in the sandbox.

    Args:
        reads: Files and directories of its source, in addition to those for every skopeo.
        writes: Directories for temporary files.
        file_size: The maximum size of a file that it writes, such as an unpacked archive, in bytes.
    """
    common = map(Path, (*_PROGRAMS, *_CONFIGURATION, *_NETWORK, *_SYSTEM))
    rules: list[str | Path] = []
    for path in (*common, *_homes(), *_lookaside(), *reads):
        rules += ["-r", path]
    for path in (Path("/dev/null"), *writes):
        rules += ["-w", path]
    return (_CONFINE, str(file_size), *rules, "--")


def _lookaside() -> Iterator[Path]:
    """Yield the directories with signatures that containers-registries.d(5) names."""
    for place in (Path("/etc/containers"), *_homes()):
        for file in (place / "registries.d").glob("*.yaml"):
            try:
                text = file.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            yield from map(Path, _FILE_URL.findall(text))


def _homes() -> Iterator[Path]:
    home = os.environ.get("HOME")
    if home:
        yield from (Path(home) / path for path in _OF_USERS)
