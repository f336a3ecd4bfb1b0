# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the virtlayer command says, asks and shows; the work is done by virtlayerd."""
