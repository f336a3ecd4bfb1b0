# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines: what they start, boot and are configured with."""
