# SPDX-License-Identifier: LGPL-2.1-or-later
"""D-Bus as client and service use it: the only importer of dbus-next."""
