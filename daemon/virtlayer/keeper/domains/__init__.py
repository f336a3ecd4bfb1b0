# SPDX-License-Identifier: LGPL-2.1-or-later
"""Domains: their XML, how they are defined, started, watched and removed, and their ports."""
