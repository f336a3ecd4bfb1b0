# SPDX-License-Identifier: LGPL-2.1-or-later
"""What skopeo's messages mean: its text becomes one of our errors here, and nowhere else.

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
    PlatformNotFound,
    PolicyRejected,
    RegistryAuth,
    RegistryUnavailable,
    VirtlayerError,
)
from virtlayer.printable import printable
from virtlayer.service.source.reference import Reference

_SHOWN = 600


@dataclass(frozen=True, slots=True)
class _Cause:
    pattern: re.Pattern[str]
    error: type[VirtlayerError]
    advice: str


def _cause(error: type[VirtlayerError], pattern: str, advice: str) -> _Cause:
    return _Cause(re.compile(pattern, re.IGNORECASE), error, advice)


_CAUSES = (
    _cause(NoSpace, r"no space left on device|disk quota exceeded", "Make room and try again."),
    _cause(
        NoSpace,
        r"short write|file too large",
        "It unpacks to more than cache.archives-limit in the settings allows.",
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
        "Inspect lists the platforms that there are; choose one with the platform option.",
    ),
    _cause(
        RegistryAuth,
        r"authentication required|unauthorized|invalid username/password"
        r"|requested access to the resource is denied|no basic auth credentials"
        r"|unable to retrieve auth token|HTTP status: 40[13]",
        "Check the name of the image, and the username and password, or the authfile.",
    ),
    _cause(
        DigestMismatch,
        r"corrupted blob|does not match provided manifest digest|expected \d+ bytes in blob"
        r"|digest did not match|does not match expected",
        "What the source has is damaged or was tampered with; have it pushed again.",
    ),
    _cause(
        RegistryUnavailable,
        r"x509:|tls: ",
        "Give the CA's directory with cert-dir, or use tls-verify=false for a registry you trust.",
    ),
    _cause(
        RegistryUnavailable,
        r"server gave HTTP response to HTTPS client",
        "The registry has no TLS; use tls-verify=false if you trust it and the network.",
    ),
    _cause(
        RegistryUnavailable,
        r"pinging container registry|dial tcp|connection (?:refused|reset)|unexpected EOF|: EOF$"
        r"|broken pipe|i/o timeout|deadline exceeded|no such host|toomanyrequests"
        r"|HTTP status: (?:429|5\d\d)|network is unreachable|after reconnecting",
        "Check that the registry runs and can be reached from this host, and try again.",
    ),
    _cause(
        MalformedLayer,
        r"invalid tar header|exceeded maximum allowed size|error unmarshal|unmarshaling"
        r"|unsupported (?:legacy )?(?:manifest|schema|MIME)|invalid character"
        r"|invalid manifest|mixed manifest",
        "The source is damaged or no container image; make it again.",
    ),
    _cause(
        ImageNotFound,
        r"manifest unknown|name unknown|blob unknown|repository .*not found"
        r"|no descriptor found|Tag .* not found|no such file or directory|archive file not found"
        r"|permission denied|not a directory|more than one image|HTTP status: 404",
        "Check its name and tag.",
    ),
)


def failure(reference: Reference, text: str) -> VirtlayerError:
    """The error that a message of skopeo about ``reference`` means.

    Args:
        reference: What skopeo was working on.
        text: An error of the proxy, or the standard error of a skopeo command.
    """
    problem = _problem(text)
    for cause in _CAUSES:
        if cause.pattern.search(problem):
            return cause.error(f"{reference}: {problem}. {cause.advice}")
    # Nothing known: a registry can say anything, and a local source has only its files.
    error = ImageNotFound if reference.local_path else RegistryUnavailable
    return error(f"{reference} cannot be read: {problem}.")


def _problem(text: str) -> str:
    """The message of the last fatal log line (logrus' text format), or the whole text."""
    fatal = re.findall(r'level=fatal msg="((?:[^"\\]|\\.)*)"', text)
    if fatal:
        text = re.sub(r"\\(.)", r"\1", fatal[-1])
    return printable(text.strip()).rstrip(".")[-_SHOWN:] or "skopeo failed without a message"
