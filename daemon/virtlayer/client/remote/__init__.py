# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command on another host: a connection to its bus through ssh.

Here, ``ssh`` starts ``virtlayer --bridge`` there (``bridge``), which is the caller on the bus.
D-Bus messages are passed on as they are; their descriptors become contents and streams (``relay``),
in frames on the standard input and output of ssh (``frames``). So commands do not differ.
"""
