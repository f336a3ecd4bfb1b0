# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether a pull may take a name away from another image, which is as much as removing that one."""

from collections.abc import Mapping

from virtlayer.errors import NotAuthorized
from virtlayer.service.bus.authority import Action, Authority
from virtlayer.service.bus.call import Call
from virtlayer.service.catalog.catalog import Catalog
from virtlayer.service.operations.pull_chain import PullRequest


async def may_replace(
    authority: Authority,
    catalog: Catalog,
    call: Call,
    request: PullRequest,
    details: Mapping[str, str],
) -> bool:
    """Tell whether the caller may remove what the name of an image stands for.

    Args:
        authority: Decides.
        catalog: Has the images.
        call: Whose caller is asked about; a person may be asked if there is an image of that name.
        request: What is pulled.
        details: What rules and prompts can see of it.

    Raises:
        NotAuthorized: There is an image of that name from another source, and it may not be
            removed.
    """
    record = await catalog.get(request.pool, request.image_name)
    if record is None:
        # Another one can be pulled under the name meanwhile.
        return await authority.allows(call, Action.REMOVE, details)
    try:
        await authority.authorize(call, Action.REMOVE, details)
    except NotAuthorized as error:
        if record.source != str(request.source):
            raise NotAuthorized(
                f'The name "{request.image_name}" in the pool "{request.pool}" stands for another '
                f"image. To replace it you need the right to remove it, and {error.message} "
                "Give another name."
            ) from error
        # The same version can be pulled without it. Which one it is, the source tells later.
        return False
    return True
