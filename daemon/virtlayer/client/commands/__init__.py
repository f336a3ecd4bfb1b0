# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands of virtlayer: a module for each noun, with its arguments and what it prints.

Each module has a function ``add`` or several ``add_…``, which add commands to the parser
(``virtlayer.client.arguments``). A command is a coroutine function with a client and its arguments.
"""
