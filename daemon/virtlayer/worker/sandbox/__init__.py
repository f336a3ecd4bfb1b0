# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the layer worker gives up before it reads untrusted data."""
