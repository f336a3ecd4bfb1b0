# SPDX-License-Identifier: LGPL-2.1-or-later
"""Archives and images made by others: what virtlayer makes of them, and what other tools do."""
