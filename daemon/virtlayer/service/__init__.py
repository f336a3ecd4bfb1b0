# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtlayerd, the service on D-Bus: it serves callers, and uses registries through skopeo."""
