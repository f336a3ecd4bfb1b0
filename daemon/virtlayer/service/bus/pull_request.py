# SPDX-License-Identifier: LGPL-2.1-or-later
"""Converts a call of Pull to a request to the operation of its format."""

from virtlayer.errors import InvalidArgument
from virtlayer.printable import printable
from virtlayer.protocol.names import PoolName, parse_image_name
from virtlayer.service.bus.authority import Action
from virtlayer.service.bus.options.images import PullOptions
from virtlayer.service.operations.pull_chain import PullRequest
from virtlayer.service.operations.whole_image import Format, WholeImageRequest
from virtlayer.service.source.reference import Reference

_AUTOMATIC = "auto"
"""The value of id-map with which the service chooses the IDs."""


def pull_action(source: Reference) -> Action:
    """Return the action of a pull."""
    return Action.PULL if source.local_path is None else Action.PULL_LOCAL


def pull_request(
    source: Reference, pool: PoolName, given: PullOptions
) -> PullRequest | WholeImageRequest:
    """Return the request of a call.

    Raises:
        InvalidArgument: An option is invalid, or options exclude each other.
    """
    wanted = _format(given.format)
    name = source.short_name if given.name is None else parse_image_name(given.name)
    _check_id_map(given.id_map, wanted)
    if wanted is Format.CHAIN:
        return PullRequest(
            source=source,
            pool=pool,
            name=name,
            platform=given.wanted_platform,
            access=given.access,
            cache=given.cache,
            size=given.size,
            volume=given.wanted_volume,
        )
    if given.replace:
        raise InvalidArgument(
            f"--replace cannot be used with --format={wanted}, which makes a volume and no image. "
            "Remove the volume that has the name first."
        )
    volume = str(source.short_name) if given.volume is None else given.volume
    return WholeImageRequest(
        source=source,
        pool=pool,
        format=wanted,
        # Either size would be one of the volume, which has none to choose.
        volume=given.new_volume(volume, given.volume_size or given.size),
        name=name,
        platform=given.wanted_platform,
        access=given.access,
        cache=given.cache,
        id_map=given.id_map is not None,
    )


def _check_id_map(id_map: str | None, wanted: Format) -> None:
    if id_map is None:
        return
    if id_map != _AUTOMATIC:
        raise InvalidArgument(
            f'Invalid option "id-map={printable(id_map[:80])}": the only value is "{_AUTOMATIC}".'
        )
    if wanted is not Format.DIRECTORY:
        raise InvalidArgument(
            f'The option "id-map" requires the option "format=dir", not "{wanted}". Use the option '
            '"uid-map" and the option "gid-map", or omit it.'
        )


def _format(name: str) -> Format:
    try:
        return Format(name)
    except ValueError:
        known = ", ".join(Format)
        raise InvalidArgument(f'Unknown format "{name[:80]}". Known: {known}.') from None
