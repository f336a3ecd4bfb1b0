# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pools of libvirt's type rbd: the images of a pool of a Ceph cluster."""
