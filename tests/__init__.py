# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tests of virtlayer, and the parts they share."""
