# SPDX-License-Identifier: LGPL-2.1-or-later
"""``python -m virtlayer.keeper`` is ``virtlayer-keeper``."""

import sys

# asyncio loads OpenSSL if it finds it: 1 MB of memory, in a process that has no network. None means
# to Python that there is no such module, which the type of this dictionary does not say.
sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]

from virtlayer.keeper.main import main  # noqa: E402 -- it imports asyncio

if __name__ == "__main__":
    main()
