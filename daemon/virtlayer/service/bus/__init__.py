# SPDX-License-Identifier: LGPL-2.1-or-later
"""The D-Bus side of the daemon; only this package of the service uses dbus-next."""
