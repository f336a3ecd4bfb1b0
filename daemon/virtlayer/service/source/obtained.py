# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records how an image was obtained, which decides who else may use its content.

Content that a registry serves to everybody can be shared. Content that it serves only with
credentials belongs to its repository. This counts only if TLS was verified with the CAs of this
host: otherwise a caller could have answered in the registry's name.
"""

from dataclasses import dataclass

from virtlayer.service.source.access import Access
from virtlayer.service.source.logins import Logins
from virtlayer.service.source.reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Obtained:
    """How an image was obtained.

    Attributes:
        registry: ``host[:port]``; None for a local source, which belongs to its caller.
        repository: ``host[:port]/path``; None for a local source.
        with_credentials: Whether skopeo had a login or a client key of the caller for the registry.
            Whether the registry asked for it is unknown.
        verified: Whether TLS was verified with the CAs of this host or those of a configured image,
            and with nothing that a caller gave.
    """

    registry: str | None
    repository: str | None
    with_credentials: bool
    verified: bool


def how_obtained(
    reference: Reference, access: Access, logins: Logins, *, insecure: bool
) -> Obtained:
    """Say how an image is obtained from a source.

    Args:
        reference: The source.
        access: How it is reached.
        logins: What skopeo may send to the registry.
        insecure: Whether registries.conf lets it be reached without a verified certificate.
    """
    if reference.domain is None:
        return Obtained(registry=None, repository=None, with_credentials=False, verified=False)
    return Obtained(
        registry=reference.domain,
        repository=reference.repository,
        with_credentials=bool(logins) or access.has_client_key,
        verified=(
            access.tls_verify
            and not insecure
            and (access.configured or not access.has_certificates)
        ),
    )
