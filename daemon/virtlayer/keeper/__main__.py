# SPDX-License-Identifier: LGPL-2.1-or-later
"""``python -m virtlayer.keeper`` is ``virtlayer-keeper``."""

from virtlayer.keeper.main import main

if __name__ == "__main__":
    main()
