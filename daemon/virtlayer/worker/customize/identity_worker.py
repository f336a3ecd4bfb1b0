# SPDX-License-Identifier: LGPL-2.1-or-later
"""The customizer (``worker``) with a library that makes ssh host keys.

It is a program of its own, because that library takes 10 MB and more than 10 ms to load, and most
customizations need no keys.
"""

from __future__ import annotations

from virtlayer.worker.customize.host_keys import new_host_keys
from virtlayer.worker.customize.worker import main

if __name__ == "__main__":
    main(new_host_keys)
