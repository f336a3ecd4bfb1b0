# SPDX-License-Identifier: LGPL-2.1-or-later
"""D-Bus for client and service: the only importer of dbus-next."""
