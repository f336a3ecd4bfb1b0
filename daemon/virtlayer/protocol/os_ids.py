# SPDX-License-Identifier: LGPL-2.1-or-later
"""The form of the libosinfo id of an operating system, which gets into the description of a domain.

An id is a URL of few characters, none of which has a meaning in XML.
"""

import re

OS_ID = re.compile(r"(http://[a-z0-9./-]{1,80})?")
"""An id; "" if it is unknown."""
