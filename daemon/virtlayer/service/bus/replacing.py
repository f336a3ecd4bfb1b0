# SPDX-License-Identifier: LGPL-2.1-or-later
"""Determines which image a pull may replace; this needs the same right as removing it."""

from collections.abc import Mapping

from virtlayer.errors import NotAuthorized
from virtlayer.service.bus.authority import Action, Authority
from virtlayer.service.bus.call import Call
from virtlayer.service.catalog.catalog import Catalog
from virtlayer.service.catalog.replacing import Replacing, taken


async def authorized_replacing(
    authority: Authority,
    catalog: Catalog,
    call: Call,
    details: Mapping[str, str],
    *,
    source: str,
    replace: bool,
) -> Replacing:
    """Determine how much the image of a pull may replace.

    Args:
        authority: Authorizes the replacement.
        catalog: Has the images.
        call: The call; a prompt is possible if there is an image of that name.
        details: The details that rules and prompts can see: pool, name and more.
        source: The reference of the new image.
        replace: Whether the caller wants to replace images of other sources.

    Raises:
        ImageExists: An image of another source has the name, and replacing it was not requested.
        NotAuthorized: The caller wants to replace images, and has no right to remove them.
    """
    if replace:
        await authority.authorize(call, Action.REMOVE, details)
        return Replacing.SOURCES
    pool, name = details["pool"], details["name"]
    present = await catalog.get(pool, name)
    if present is None:
        # Another version can be pulled under the name meanwhile.
        allowed = await authority.allows(call, Action.REMOVE, details)
        return Replacing.VERSIONS if allowed else Replacing.NOTHING
    if present.source != source:
        raise taken(pool, name)
    try:
        await authority.authorize(call, Action.REMOVE, details)
    except NotAuthorized:
        # The same version can be pulled without the right. The version is known later.
        return Replacing.NOTHING
    return Replacing.VERSIONS
