# SPDX-License-Identifier: LGPL-2.1-or-later
"""The answers to the messages of ``protocol.rbd``."""
