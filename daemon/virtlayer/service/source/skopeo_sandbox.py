# SPDX-License-Identifier: LGPL-2.1-or-later
"""What skopeo may do: it talks to registries, and is the first to parse what they send.

It runs as the service's own user, and so could read what the service can. confine.c takes that away
(Landlock, where the kernel has it): skopeo reads programs, the host's configuration of registries
and networks, and what its one source needs; it writes temporary files, and traces and signals no
process outside.
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
    # Where resolv.conf leads to; it is replaced when the network changes.
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
    """What stands before skopeo's command line.

    Args:
        reads: Files and directories of its source, beside those that every skopeo reads.
        writes: Directories for temporary files.
        file_size: Bytes that a file may have that it writes, such as an archive that it unpacks.
    """
    common = map(Path, (*_PROGRAMS, *_CONFIGURATION, *_NETWORK, *_SYSTEM))
    rules: list[str | Path] = []
    for path in (*common, *_homes(), *_lookaside(), *reads):
        rules += ["-r", path]
    for path in (Path("/dev/null"), *writes):
        rules += ["-w", path]
    return (_CONFINE, str(file_size), *rules, "--")


def _lookaside() -> Iterator[Path]:
    """Directories with signatures that containers-registries.d(5) names."""
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
