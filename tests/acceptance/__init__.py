# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Debian packages on a Debian system that systemd has booted. `make acceptance` runs these."""
