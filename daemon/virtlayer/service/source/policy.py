# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds the scope of the signature policy for an image (containers-policy.json(5)).

skopeo alone enforces the policy. This finds the same scope, so that users see which rule decided,
and so that an administrator can require that the rule does not accept unsigned images.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtlayer.errors import PolicyRejected
from virtlayer.service.source.reference import Reference
from virtlayer.sizes import MIB

_LIMIT = MIB
_ACCEPTS_ALL = "insecureAcceptAnything"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignaturePolicy:
    """The policy of this host.

    Attributes:
        file: The path of a policy.json.
        required: Whether an image is refused if the policy accepts it unsigned.
    """

    file: Path
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyScope:
    """The requirements for an image.

    Attributes:
        name: ``TRANSPORT:SCOPE``, ``TRANSPORT:`` for the default of a transport, or ``default``.
        accepts_unsigned: Whether the requirements accept unsigned images.
    """

    name: str
    accepts_unsigned: bool


def policy_scope(policy: SignaturePolicy, target: Reference, reference: Reference) -> PolicyScope:
    """Find the requirements for an image.

    Args:
        policy: The policy.
        target: The reference that skopeo opens.
        reference: The reference of the caller, for errors.

    Raises:
        PolicyRejected: The file cannot be read or is invalid, or it accepts unsigned images
            although signatures are required.
    """
    scope = _scope(_parsed(policy.file), target, policy.file)
    if policy.required and scope.accepts_unsigned:
        raise PolicyRejected(
            f"{reference}: signatures are required here (registries.signatures in "
            f'virtlayerd.toml), but "{scope.name}" in {policy.file} accepts unsigned images. Add a '
            "scope with the key of the image, see containers-policy.json(5)."
        )
    return scope


def policy_files(policy: SignaturePolicy) -> tuple[Path, ...]:
    """Return the policy, and the keys and certificates that it names."""
    try:
        named = _paths_in(_parsed(policy.file))
    except PolicyRejected:
        # The error is raised where the policy is used.
        return (policy.file,)
    return (policy.file, *named)


def _paths_in(value: object) -> Iterator[Path]:
    match value:
        case str() if value.startswith("/"):
            yield Path(value)
        case dict():
            for one in value.values():
                yield from _paths_in(one)
        case list():
            for one in value:
                yield from _paths_in(one)


def _scope(table: Mapping[str, Any], reference: Reference, file: Path) -> PolicyScope:
    transports = table.get("transports", {})
    scopes = transports.get(reference.transport, {}) if isinstance(transports, dict) else None
    if not isinstance(scopes, dict):
        raise _invalid(file)
    for name in _scopes_of(reference):
        if name in scopes:
            return _checked(f"{reference.transport}:{name}", scopes[name], file)
    return _checked("default", table.get("default"), file)


def _checked(name: str, requirements: object, file: Path) -> PolicyScope:
    if not isinstance(requirements, list) or not requirements:
        raise _invalid(file)
    kinds = [one.get("type") if isinstance(one, dict) else None for one in requirements]
    # All requirements must be met, so one that requires a signature is sufficient.
    return PolicyScope(name=name, accepts_unsigned=all(kind == _ACCEPTS_ALL for kind in kinds))


def _scopes_of(reference: Reference) -> Iterator[str]:
    """Yield the names of the matching scopes, the most specific one first."""
    if reference.domain is not None:
        yield from _scopes_in_registry(reference)
    elif reference.transport != "docker-archive":
        # A symbolic link must not bypass a scope.
        yield from _scopes_of_path(os.path.realpath(reference.repository))
    yield ""


def _scopes_in_registry(reference: Reference) -> Iterator[str]:
    name = reference.repository
    # The opened reference has a tag or a digest; with a digest, the tag is ignored.
    yield f"{name}@{reference.digest}" if reference.digest else f"{name}:{reference.tag}"
    yield name
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name
    host = name.partition(":")[0]
    while "." in host:
        host = host.partition(".")[2]
        yield f"*.{host}"


def _scopes_of_path(path: str) -> Iterator[str]:
    while path not in {"", "/"}:
        yield path
        path = path.rpartition("/")[0]


def _parsed(file: Path) -> Mapping[str, Any]:
    try:
        with file.open("rb") as opened:
            content = opened.read(_LIMIT + 1)
    except OSError as error:
        raise PolicyRejected(
            f"The signature policy {file} (registries.policy in virtlayerd.toml) cannot be read: "
            f"{error.strerror}."
        ) from error
    try:
        table: Any = json.loads(content)
    except (ValueError, RecursionError):
        table = None
    if len(content) > _LIMIT or not isinstance(table, dict):
        raise _invalid(file)
    return table


def _invalid(file: Path) -> PolicyRejected:
    return PolicyRejected(
        f"The signature policy {file} is invalid. Correct it, see containers-policy.json(5)."
    )
