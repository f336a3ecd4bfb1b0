# SPDX-License-Identifier: LGPL-2.1-or-later
"""Support code of the tests: hosts, buses, registries, images, and leak checks."""
