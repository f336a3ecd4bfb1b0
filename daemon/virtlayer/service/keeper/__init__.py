# SPDX-License-Identifier: LGPL-2.1-or-later
"""The service's end of the protocol with the keeper (``virtlayer.keeper.answers``)."""
