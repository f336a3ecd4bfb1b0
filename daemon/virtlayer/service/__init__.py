# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtlayerd, the service on D-Bus: it talks to callers, to registries, and to skopeo."""
