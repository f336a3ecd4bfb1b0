# SPDX-License-Identifier: LGPL-2.1-or-later
"""The keeper's end of the protocol: checks and performs the service's requests."""
