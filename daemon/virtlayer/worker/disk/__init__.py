# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images that carry the disk of a machine as a file in /disk, as KubeVirt publishes them."""
