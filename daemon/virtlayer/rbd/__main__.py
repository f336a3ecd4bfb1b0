# SPDX-License-Identifier: LGPL-2.1-or-later
"""``python -m virtlayer.rbd`` is ``virtlayer-rbd``."""

from virtlayer.rbd.main import main

if __name__ == "__main__":
    main()
