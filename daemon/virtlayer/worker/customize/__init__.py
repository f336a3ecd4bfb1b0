# SPDX-License-Identifier: LGPL-2.1-or-later
"""Customizes one volume of an image: accounts, keys, the host name, owners."""
