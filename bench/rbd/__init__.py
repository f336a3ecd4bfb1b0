# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtlayer with pools of the kind RBD."""
