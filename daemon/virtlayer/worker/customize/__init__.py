# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is changed in one volume of an image: accounts, keys, the host's name, owners."""
