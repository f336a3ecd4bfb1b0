# SPDX-License-Identifier: LGPL-2.1-or-later
"""ext4 by libext2fs, over NBD: no mount, no root, no file on this host."""
