# SPDX-License-Identifier: LGPL-2.1-or-later
"""Container images as qcow2 backing chains in libvirt storage pools."""
