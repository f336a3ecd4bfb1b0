# SPDX-License-Identifier: LGPL-2.1-or-later
"""Converts skopeo's messages to errors; only this module reads them.

skopeo has no error codes (protocol 0.2.6 of its proxy), so the text is all there is. The first row
of the table that fits decides; the texts were seen with skopeo 1.18.
"""

import re
from dataclasses import dataclass

from virtlayer.errors import (
    DigestMismatch,
    ImageNotFound,
    MalformedLayer,
    NoSpace,
    NotAuthorized,
    PlatformNotFound,
    PolicyRejected,
    RegistryAuth,
    RegistryUnavailable,
    VirtlayerError,
)
from virtlayer.printable import printable
from virtlayer.service.source.reference import Reference

_SHOWN = 600
_PREFIX = re.compile(
    r'^(?:Error parsing image name "[^"]*": |creating temp directory: |untarring file "[^"]*": )+'
)
"""Parts of messages that repeat the reference or name our temporary files."""
_FILE = re.compile(
    r'(?:(?:open|openat|faccessat|l?stat|read|readdirent) |archive file not found: ")'
    r'(?P<path>/[^"]*?)(?:": |: |")'
    r"(?P<reason>permission denied|no such file or directory|not a directory|$)"
)
"""A file that skopeo cannot read, with the reason of the system call."""

_MISSING_DIRECTORY = re.compile(r"\bchown /[^:]*: operation not permitted")
"""skopeo creates a directory that an archive does not have for root, which needs privileges."""


@dataclass(frozen=True, slots=True)
class _Cause:
    pattern: re.Pattern[str]
    error: type[VirtlayerError]
    advice: str


def _cause(error: type[VirtlayerError], pattern: str, advice: str) -> _Cause:
    return _Cause(re.compile(pattern, re.IGNORECASE), error, advice)


_CAUSES = (
    _cause(NoSpace, r"no space left on device|disk quota exceeded", "Free some space, try again."),
    _cause(
        NoSpace,
        r"short write|file too large",
        "It unpacks to more bytes than cache.archives-limit in virtlayerd.toml allows.",
    ),
    _cause(
        PolicyRejected,
        r"rejected by policy|signature was required|policy\.json|policy verification"
        r"|Invalid GPG signature|cryptographic signature verification failed"
        r"|None of the signatures were accepted|Signature for identity",
        "The rules are in policy.json; see containers-policy.json(5).",
    ),
    _cause(
        PlatformNotFound,
        r"no image found in (?:image index|manifest list)",
        'Choose another platform with the option "platform"; "virtlayer inspect" lists those of '
        "the image.",
    ),
    _cause(
        RegistryAuth,
        r"authentication required|unauthorized|invalid username/password"
        r"|requested access to the resource is denied|no basic auth credentials"
        r"|unable to retrieve auth token|HTTP status: 40[13]",
        "",
    ),
    _cause(
        DigestMismatch,
        r"corrupted blob|does not match provided manifest digest|expected \d+ bytes in blob"
        r"|digest did not match|does not match expected",
        "The image is corrupt at the source. Push it again.",
    ),
    _cause(
        RegistryUnavailable,
        r"x509:|tls: ",
        'Name the directory of its CA certificate with the option "cert-dir", or use the option '
        '"tls-verify=false" if you trust the registry and the network.',
    ),
    _cause(
        RegistryUnavailable,
        r"server gave HTTP response to HTTPS client",
        'The registry does not use TLS. Use the option "tls-verify=false" if you trust it and the '
        "network.",
    ),
    _cause(
        RegistryUnavailable,
        r"pinging container registry|dial tcp|connection (?:refused|reset)|unexpected EOF|: EOF$"
        r"|broken pipe|i/o timeout|deadline exceeded|no such host|toomanyrequests"
        r"|HTTP status: (?:429|5\d\d)|network is unreachable|after reconnecting",
        "Check that the registry is running and that this host can reach it, then try again.",
    ),
    _cause(
        MalformedLayer,
        r"invalid tar header|exceeded maximum allowed size|error unmarshal|unmarshaling"
        r"|unsupported (?:legacy )?(?:manifest|schema|MIME)|invalid character"
        r"|invalid manifest|mixed manifest",
        "The source is damaged or is not a container image.",
    ),
    _cause(
        ImageNotFound,
        r"more than one image",
        "Name one of them, for example oci:PATH:TAG or docker-archive:PATH:NAME.",
    ),
    _cause(
        ImageNotFound,
        r"manifest unknown|name unknown|blob unknown|repository .*not found"
        r"|no descriptor found|Tag .* not found|HTTP status: 404",
        "Check the name and tag.",
    ),
)


def failure(reference: Reference, text: str, user: str | None = None) -> VirtlayerError:
    """Return the error for a message of skopeo about ``reference``.

    Args:
        reference: What skopeo was working on.
        text: An error of the proxy, or the standard error of a skopeo command.
        user: Whose login skopeo had for the registry; None for no login.
    """
    problem = _problem(text)
    if reference.local_path is not None and (match := _FILE.search(problem)):
        return _unreadable(reference, match["path"], match["reason"])
    if reference.local_path is not None and _MISSING_DIRECTORY.search(problem):
        return MalformedLayer(
            f"{reference}: the archive has files without their directories, which skopeo can "
            "unpack only as root. Create it again from the directory of the image, with "
            '"tar --create --file=ARCHIVE --directory=DIRECTORY .".'
        )
    for cause in _CAUSES:
        if cause.pattern.search(problem):
            advice = cause.advice or _login_advice(reference, user)
            return cause.error(f"{reference}: {problem}. {advice}")
    # Nothing known: a registry can say anything, and a local source has only its files.
    error = ImageNotFound if reference.local_path else RegistryUnavailable
    return error(f"{reference} cannot be read: {problem}.")


def _unreadable(reference: Reference, path: str, reason: str) -> VirtlayerError:
    """Return the error for a failed system call for a file of a local source."""
    if "denied" in reason:
        return NotAuthorized(
            f"{reference}: cannot read {path}: permission denied. Change its permissions, or run "
            "the command as a user who can read it."
        )
    if "/blobs/" in path:
        return ImageNotFound(
            f"{reference}: the image is incomplete: {path} does not exist. Copy the image again."
        )
    return ImageNotFound(f"{reference}: {path} does not exist. Check the path.")


def _login_advice(reference: Reference, user: str | None) -> str:
    registry = reference.domain
    if user is None:
        return (
            f"{registry} requires a login, or the image does not exist. Use "
            f'"virtlayer login {registry}", or the option "username".'
        )
    return f'The login of user "{user}" at {registry} was refused. Check user name and password.'


def _problem(text: str) -> str:
    """Return the message of the last fatal log line (logrus' text format), or the whole text."""
    fatal = re.findall(r'level=fatal msg="((?:[^"\\]|\\.)*)"', text)
    if fatal:
        text = re.sub(r"\\(.)", r"\1", fatal[-1])
    text = _PREFIX.sub("", text)
    return printable(text.strip()).rstrip(".")[-_SHOWN:] or "skopeo failed without an error message"
