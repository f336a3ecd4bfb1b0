# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names within a pool; ``protocol.rbd_names`` has those of unfinished images."""

LAYER_SNAPSHOT = "virtlayer"
"""The snapshot of a layer, which images are cloned from."""
MARK = "virtlayer"
"""The key in an image's metadata that says that virtlayer made the image: its value is the image's
id. A clone gets the metadata of its parent, but not its id."""
