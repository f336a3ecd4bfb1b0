# SPDX-License-Identifier: LGPL-2.1-or-later
"""The virtlayer command: arguments, prompts and output; virtlayerd does the work."""
