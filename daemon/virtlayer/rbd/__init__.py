# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process that has access to one RBD pool of a Ceph cluster; see README.md."""
