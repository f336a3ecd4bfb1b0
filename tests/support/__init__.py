# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests work with: hosts, buses, registries, images, and looks at what is left."""
