# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtlayer-keeper, asked by a service that is compromised."""
