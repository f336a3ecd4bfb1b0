# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files of this host that machines on RBD pools boot with; libvirt and QEMU find them by paths."""
