# SPDX-License-Identifier: LGPL-2.1-or-later
"""The caller's own logins for registries, found as containers-auth.json(5) says.

The service has none of its own to send for a caller. So the command reads the caller's files, with
the caller's rights, and passes what is in them through a descriptor.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from virtlayer.client.unreadable import unreadable
from virtlayer.errors import InvalidArgument

_LIMIT = 1024 * 1024
"""Bytes that the service accepts of an authfile."""
_OLDEST = ".dockercfg"
"""A file in the oldest format, which is only what others have as "auths"."""
_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


def given_logins(path: Path, name: str) -> bytes:
    """What a file contains that the caller has named.

    Args:
        path: The file.
        name: Where it was named, for errors.

    Raises:
        NotAuthorized: The caller may not read it.
        InvalidArgument: It cannot be read, or is too long.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LIMIT + 1)
    except OSError as error:
        raise unreadable(f"{name} {path}", error, InvalidArgument) from error
    if len(content) > _LIMIT:
        raise InvalidArgument(f"{name} {path} is too large: the limit is 1 MiB.")
    return content


def usual_logins(environment: Mapping[str, str]) -> bytes | None:
    """The logins that podman and skopeo would use for the caller; None if there are none.

    Several files can have some. For each registry, the first file that names it counts, with all
    of the namespaces that it names.

    Args:
        environment: The caller's variables.

    Raises:
        InvalidArgument: One of the files cannot be read, or has another format.
    """
    found: dict[str, object] = {}
    for path in _usual_files(environment):
        if not _exists(path):
            continue
        logins = _parsed(given_logins(path, "the login file"), path)
        known = [_normalized(key) for key in found]
        found |= {key: login for key, login in logins.items() if not _covered(key, known)}
    return json.dumps({"auths": found}).encode() if found else None


def _exists(path: Path) -> bool:
    """Whether a file exists; none can be the caller's in a directory that is closed to them."""
    try:
        return path.exists()
    except PermissionError:
        return False


def _usual_files(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The files, the first one before the others."""
    home = Path(environment.get("HOME") or Path.home())
    if named := environment.get("REGISTRY_AUTH_FILE"):
        first = Path(named)
    elif runtime := environment.get("XDG_RUNTIME_DIR"):
        first = Path(runtime) / "containers" / "auth.json"
    else:
        first = Path(f"/run/containers/{os.getuid()}/auth.json")
    configuration = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    docker = Path(environment.get("DOCKER_CONFIG") or home / ".docker")
    others = (configuration / "containers" / "auth.json", docker / "config.json", home / _OLDEST)
    return (first, *others)


def _parsed(content: bytes, path: Path) -> dict[str, object]:
    """The logins of a file; those that a credential helper keeps are empty there."""
    try:
        document: Any = json.loads(content)
        logins = document if path.name == _OLDEST else document.get("auths", {})
        return {key: login for key, login in logins.items() if login and "auth" in login}
    except (ValueError, RecursionError, TypeError, AttributeError):
        raise InvalidArgument(
            f"The login file {path} is not a containers-auth.json(5) file. Correct it, or use "
            "another one with --authfile."
        ) from None


def _covered(key: str, known: Iterable[str]) -> bool:
    """Whether a file before has a login for everything that a registry or namespace covers."""
    name = _normalized(key)
    return any(name == one or name.startswith(f"{one}/") for one in known)


def _normalized(key: str) -> str:
    """A registry or namespace in one form; files of old Dockers have URLs."""
    name = key.removeprefix("https://").removeprefix("http://")
    host, slash, namespace = name.partition("/")
    host = "docker.io" if host in _DOCKER_HUB else host
    return host if name != key else f"{host}{slash}{namespace}"
