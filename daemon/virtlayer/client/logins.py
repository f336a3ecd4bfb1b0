# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the caller's own logins for registries (containers-auth.json(5)).

The service has no logins to send for a caller. So the command reads the caller's files, with the
caller's rights, and passes their content through a descriptor.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from virtlayer.client.unreadable import unreadable
from virtlayer.errors import InvalidArgument

_LIMIT = 1024 * 1024
"""Limit in bytes of an authfile that the service accepts."""
_OLDEST = ".dockercfg"
"""A file in the oldest format, which only has the content of "auths"."""
_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


def given_logins(path: Path, name: str) -> bytes:
    """Return the content of a file that the caller has named.

    Args:
        path: The file.
        name: The option that named it, for errors.

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
    """Return the logins that podman and skopeo would use for the caller; None if there are none.

    Several files can have logins. For each registry, the first file that names it is used, with all
    of its namespaces.

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
    """Return whether a file exists; False in a directory that the caller may not search."""
    try:
        return path.exists()
    except PermissionError:
        return False


def _usual_files(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the files in the order of their priority."""
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
    """Return the logins of a file; logins in a credential helper are empty."""
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
    """Return whether an earlier file has a login for the registry of a key."""
    name = _normalized(key)
    return any(name == one or name.startswith(f"{one}/") for one in known)


def _normalized(key: str) -> str:
    """Return a registry or namespace in one form; files of old Docker versions have URLs."""
    name = key.removeprefix("https://").removeprefix("http://")
    host, slash, namespace = name.partition("/")
    host = "docker.io" if host in _DOCKER_HUB else host
    return host if name != key else f"{host}{slash}{namespace}"
