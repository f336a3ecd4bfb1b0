# SPDX-License-Identifier: LGPL-2.1-or-later
"""References to images: ``debian:12``, ``docker://host:5000/image@sha256:…``, ``oci:/path:tag``.

The transports and their forms are those of containers-transports(5); a name in a registry follows
the grammar and the defaults of the distribution project's reference format (``docker.io`` and
``library/`` are implied, ``latest`` is the tag when neither tag nor digest is given).
"""

import os.path
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from virtlayer.errors import InvalidReference
from virtlayer.printable import printable
from virtlayer.protocol.names import ImageName, parse_image_name
from virtlayer.service.source.digest import is_digest

LOCAL_TRANSPORTS = ("oci", "oci-archive", "docker-archive", "dir")
_OTHER_TRANSPORTS = frozenset(
    {"atomic", "containers-storage", "docker-daemon", "ostree", "sif", "tarball"}
)
_STORES = {
    "containers-storage": (("podman", "save", "--format", "oci-archive", "-o"), "oci-archive"),
    "docker-daemon": (("docker", "save", "-o"), "docker-archive"),
}
"""Transports for image stores of a user of this host, with the command that exports an image and
the transport of the result."""
_WORKING = "docker://, " + ", ".join(f"{name}:" for name in LOCAL_TRANSPORTS)

_LENGTH_LIMIT = 4096
_NAME_LIMIT = 255
_DEFAULT_DOMAIN = "docker.io"
_DEFAULT_TAG = "latest"

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?")
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_HEXADECIMAL = re.compile(r"[0-9a-f]{64}")
# OCI image-spec annotations.md, org.opencontainers.image.ref.name
_REF_COMPONENT = r"[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*"
_REF_NAME = re.compile(rf"{_REF_COMPONENT}(?:/{_REF_COMPONENT})*")
_POSITION = re.compile(r"@[0-9]+")
_WITH_POSITIONS = ("oci", "docker-archive")
"""Transports whose images can be named by their position (skopeo has none for oci-archive)."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The location of an image.

    ``str()`` returns the canonical form, which parses to an equal reference.
    """

    transport: str
    """``docker``, ``oci``, ``oci-archive``, ``docker-archive`` or ``dir``."""
    repository: str
    """``domain/path`` for ``docker``; otherwise an absolute path of this host."""
    tag: str | None
    """The tag; for ``oci``, ``oci-archive`` and ``docker-archive`` the text after the path."""
    digest: str | None
    """``sha256:…``; it identifies the image, and the tag is then only a name."""

    def __str__(self) -> str:
        prefix = "docker://" if self.transport == "docker" else f"{self.transport}:"
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{prefix}{self.repository}{tag}{digest}"

    @property
    def skopeo_name(self) -> str:
        """The form for skopeo, which refuses a tag together with a digest."""
        return str(replace(self, tag=None) if self.digest else self)

    @property
    def domain(self) -> str | None:
        """The registry, ``host[:port]``; None for a local transport."""
        return None if self.local_path else self.repository.partition("/")[0]

    @property
    def local_path(self) -> Path | None:
        """The file or directory of a local transport; None for a registry."""
        return None if self.transport == "docker" else Path(self.repository)

    @property
    def short_name(self) -> ImageName:
        """Return a readable name that can be the default name in a pool: ``debian:12``.

        Raises:
            InvalidArgument: No valid name can be derived from the path.
        """
        return parse_image_name(self._short_name)

    @property
    def _short_name(self) -> str:
        if self.transport == "docker-archive" and self.tag and not self.tag.startswith("@"):
            return self.tag.rpartition("/")[2]
        base = PurePosixPath(self.repository).name
        if self.transport.endswith("-archive"):
            base = base.removesuffix(".tar")
        if self.tag:
            return f"{base}:{self.tag.rpartition('/')[2].removeprefix('@')}"
        return f"{base}@{self.digest[:19]}" if self.digest else base

    def pinned(self, digest: str) -> "Reference":
        """Return the reference with exactly this digest; a local transport cannot be pinned."""
        return replace(self, digest=digest) if self.transport == "docker" else self


def parse_reference(text: str) -> Reference:
    """Parse and normalise a reference.

    Text without a transport means ``docker://``. ``docker:///image`` and ``docker://image/`` are
    also accepted.

    Raises:
        InvalidReference: The text is not a valid reference, or its transport is not supported.
    """
    if len(text) > _LENGTH_LIMIT:
        raise InvalidReference(f"The image reference is too long: {len(text)} characters.")
    if not text.isprintable():
        raise InvalidReference(f"The image reference {_quoted(text)} has unprintable characters.")
    transport, colon, rest = text.partition(":")
    if text.startswith("docker://"):
        return _registry_reference(text, rest)
    if colon and transport in LOCAL_TRANSPORTS:
        return _local_reference(text, transport, rest)
    if colon and transport in _STORES:
        raise InvalidReference(_export_advice(transport, rest))
    if (colon and transport in _OTHER_TRANSPORTS) or "://" in text:
        raise InvalidReference(f"Unsupported transport in {_quoted(text)}. Supported: {_WORKING}.")
    if text.startswith(("/", ".")):
        raise InvalidReference(
            f"{_quoted(text)} has no transport. Use one of {_WORKING}; for example oci:/path:tag."
        )
    return _registry_reference(text, text)


def has_transport(text: str) -> bool:
    """Return whether a text is a reference with a transport, also one that is not supported."""
    transport, colon, _ = text.partition(":")
    return "://" in text or (bool(colon) and transport in {*LOCAL_TRANSPORTS, *_OTHER_TRANSPORTS})


def is_short_name(text: str) -> bool:
    """Return whether a reference has neither a transport nor a registry."""
    if has_transport(text) or text.startswith(("/", ".")):
        return False
    name, slash, _ = text.partition("@")[0].partition("/")
    return not (slash and _is_domain(name))


def _registry_reference(text: str, rest: str) -> Reference:
    named, at, digest = rest.strip("/").partition("@")
    if at and not is_digest(digest):
        # The text before the @ may be a password, so it is not repeated.
        raise InvalidReference(
            'The text after "@" in the image reference is not a sha256 or sha512 digest. Pass '
            "credentials with options, not in the reference."
        )
    head, colon, last = named.rpartition(":")
    name, tag = (head, last) if colon and "/" not in last else (named, None)
    if tag is not None and not _TAG.fullmatch(tag):
        raise InvalidReference(
            f'Invalid tag in {_quoted(text)}: a tag has up to 128 letters, digits, "_", "." and '
            '"-", and does not begin with "." or "-".'
        )
    domain, path = _split_domain(name.rstrip("/"))
    if not _DOMAIN.fullmatch(domain):
        raise InvalidReference(f"Invalid registry in {_quoted(text)}: use HOST or HOST:PORT.")
    if path != path.lower():
        raise InvalidReference(
            f'Invalid repository in {_quoted(text)}: use lower case, "{path.lower()}".'
        )
    if not _PATH.fullmatch(path) or _HEXADECIMAL.fullmatch(name):
        raise InvalidReference(
            f"Invalid image reference {_quoted(text)}. Examples: debian:13, "
            "docker://host:5000/team/image:tag."
        )
    repository = f"{domain}/{path}"
    if len(repository) > _NAME_LIMIT:
        raise InvalidReference(f"The repository of {_quoted(text)} is too long.")
    if tag is None and not digest:
        tag = _DEFAULT_TAG
    return Reference("docker", repository, tag, digest or None)


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    is_qualified = slash and _is_domain(first)
    domain, path = (first, rest) if is_qualified else (_DEFAULT_DOMAIN, name)
    if domain == "index.docker.io":
        domain = _DEFAULT_DOMAIN
    if domain == _DEFAULT_DOMAIN and "/" not in path:
        path = f"library/{path}"
    return domain, path


def _is_domain(component: str) -> bool:
    """Return whether the first component of a name is a registry."""
    return (
        "." in component
        or ":" in component
        or component == "localhost"
        or component != component.lower()
    )


def _local_reference(text: str, transport: str, rest: str) -> Reference:
    path, colon, tag = (rest, "", "") if transport == "dir" else rest.partition(":")
    if not path.startswith("/"):
        raise InvalidReference(
            f"The path in {_quoted(text)} must be absolute, for example {transport}:/path."
        )
    if colon and not _is_local_tag(transport, tag):
        raise InvalidReference(
            f"Invalid reference after the path in {_quoted(text)}. Example: {transport}:/path:tag."
        )
    # normpath keeps two leading slashes, which may have another meaning in POSIX.
    normal = "/" + os.path.normpath(path).lstrip("/")
    return Reference(transport, normal, tag or None, None)


def _is_local_tag(transport: str, tag: str) -> bool:
    if transport in _WITH_POSITIONS and _POSITION.fullmatch(tag):
        return True
    if transport == "docker-archive":
        try:
            inside = _registry_reference(tag, tag)
        except InvalidReference:
            return False
        return inside.digest is None
    return _REF_NAME.fullmatch(tag) is not None


def _export_advice(transport: str, rest: str) -> str:
    """Explain why an image in a store of this host cannot be read, and how to export it."""
    # Either transport may have options or an ID before the name.
    name = rest.rpartition("]")[2].removeprefix("@")
    base = PurePosixPath(name.partition("@")[0]).name or "image"
    archive = f"{base.partition(':')[0]}.tar"
    export, result = _STORES[transport]
    commands = (
        shlex.join([*export, archive, name]),
        shlex.join(["virtlayer", "pull", "--name", base, f"{result}:{archive}"]),
    )
    return f"virtlayerd cannot read images of {transport}. Export the image: {'; '.join(commands)}"


def _quoted(text: str) -> str:
    """Return enough of the text to recognise it, without a possible password."""
    if "@" in text:
        text = "...@" + text.rpartition("@")[2]
    shown = printable(text)
    return f'"{shown[:200]}{"..." if len(shown) > 200 else ""}"'
