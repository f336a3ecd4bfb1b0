# SPDX-License-Identifier: LGPL-2.1-or-later
"""The examples and the documents, tried with the real virtlayerd."""
