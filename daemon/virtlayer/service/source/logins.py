# SPDX-License-Identifier: LGPL-2.1-or-later
"""Logins for registries, as containers-auth.json(5) has them.

skopeo always gets a file of our own, with the logins of the one registry that it reaches, or with
none. Without such a file, it would read those of the user that it runs as.
"""

import base64
import json
from collections.abc import Collection, Mapping
from typing import Any

from virtlayer.errors import InvalidArgument
from virtlayer.printable import printable

type Logins = Mapping[str, Mapping[str, str]]
"""The content of ``auths``: the logins by registry or namespace."""

_LIMIT = 1000
"""Logins of one call: queued jobs keep them, and a parsed one takes many times its text's size."""
_SENT = ("auth", "identitytoken")
_ALIASES = {"docker.io": "index.docker.io", "registry-1.docker.io": "index.docker.io"}
"""Names of one registry, which files have used (containers-auth.json(5))."""


def parse_logins(content: bytes, name: str) -> Logins:
    """Parse a file as ``skopeo login`` writes it.

    Its ``credHelpers`` and ``credsStore`` are ignored: they name programs for us to run.

    Args:
        content: The file's content.
        name: What the caller calls it, for errors.

    Raises:
        InvalidArgument: It has another format, or too many logins.
    """
    try:
        document: Any = json.loads(content)
        logins = {registry: _login(entry) for registry, entry in document["auths"].items()}
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        # The content stays out of the message: it is secret.
        raise InvalidArgument(
            f'{name} is not a containers-auth.json(5) file: it must be JSON with "auths".'
        ) from None
    if len(logins) > _LIMIT:
        raise InvalidArgument(
            f"{name} has {len(logins)} logins; the limit is {_LIMIT}. Remove those that are not "
            "needed."
        )
    return logins


def login_of(registry: str, username: str, password: str) -> Logins:
    """Return the login of a user name and a password.

    Args:
        registry: ``host[:port]``.
        username: The user name.
        password: The password.
    """
    pair = base64.b64encode(f"{username}:{password}".encode()).decode()
    return {registry: {"auth": pair}}


def logins_for(logins: Logins, registries: Collection[str]) -> Logins:
    """Return the logins for certain registries.

    Args:
        logins: All that were given.
        registries: ``host[:port]`` of each registry that may be asked.
    """
    wanted = {_ALIASES.get(registry, registry) for registry in registries}
    return {key: login for key, login in logins.items() if login and _registry(key) in wanted}


def user_of(logins: Logins) -> str | None:
    """Return the user whose login is sent to a registry, for errors; None if none is sent.

    Args:
        logins: Those that skopeo gets. With several, skopeo chooses one of them by the namespace.
    """
    users = {_user(login) for login in logins.values()}
    return ", ".join(sorted(users)) or None


def authfile(logins: Logins) -> bytes:
    """Return the content of a file with these logins."""
    return json.dumps({"auths": logins}).encode()


def _user(login: Mapping[str, str]) -> str:
    try:
        name, _, _ = base64.b64decode(login["auth"]).decode().partition(":")
    except (KeyError, ValueError):
        return "(token)"
    return printable(name)


def _login(entry: Mapping[str, object]) -> Mapping[str, str]:
    return {key: value for key in _SENT if isinstance(value := entry.get(key), str) and value}


def _registry(key: str) -> str:
    """The registry of a key, which may be a namespace, or a URL in files of old Dockers."""
    host = key.removeprefix("http://").removeprefix("https://").partition("/")[0]
    return _ALIASES.get(host, host)
