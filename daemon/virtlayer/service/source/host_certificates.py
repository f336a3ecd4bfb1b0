# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks the access to a registry's certificates and client keys in certs.d.

skopeo silently skips a directory that it may not read (containers-certs.d(5)), and the registry
then refuses a client that has shown no certificate. So this is found out first.
"""

import os
from pathlib import Path

from virtlayer.errors import RegistryUnavailable

DIRECTORIES = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))
SUFFIXES = (".crt", ".cert", ".key")
"""Of the files that count in such a directory."""


def check_host_certificates(registry: str) -> None:
    """Check that this process may read the certificates and keys for a registry.

    Args:
        registry: ``host[:port]``.

    Raises:
        RegistryUnavailable: It may not; the message names the file.
    """
    for directory in DIRECTORIES:
        found = directory / registry
        try:
            names = sorted(path.name for path in found.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise _unreadable(found, error, "755") from error
        for name in names:
            if not name.endswith(SUFFIXES):
                continue
            try:
                with (found / name).open("rb"):
                    pass
            except OSError as error:
                raise _unreadable(found / name, error, "640") from error
        return


def _unreadable(path: Path, error: OSError, mode: str) -> RegistryUnavailable:
    group = os.getegid()
    return RegistryUnavailable(
        f"virtlayerd cannot read {path}: {error.strerror}. Allow its group to read it (chgrp "
        f'{group} {path}; chmod {mode} {path}), or use the option "cert-dir".'
    )
