# SPDX-License-Identifier: LGPL-2.1-or-later
"""Archives and images of other projects, unpacked by virtlayer and by other tools."""
