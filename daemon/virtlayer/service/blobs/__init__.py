# SPDX-License-Identifier: LGPL-2.1-or-later
"""Transfers a blob from its source to the worker that reads it.

The modules in the order of its steps: ``prefetch``, ``cache``, ``download``, ``writer``,
``growing_blob``, ``announcement``. docs/architecture.md follows one blob step by step.
"""
