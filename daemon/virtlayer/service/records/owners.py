# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whom content belongs to: everybody, a repository, or a user."""

from dataclasses import dataclass
from enum import StrEnum

from virtlayer.service.records.fields import Text


class OwnerKind(StrEnum):
    """What content can belong to."""

    EVERYBODY = "everybody"
    REPOSITORY = "repository"
    USER = "user"


@dataclass(frozen=True, slots=True, order=True)
class Owner:
    """What content belongs to.

    Attributes:
        kind: Everybody, a repository, or a user.
        name: ``host[:port]/path`` of a repository, the uid of a user; "" for everybody.
    """

    kind: OwnerKind
    name: Text = ""


EVERYBODY = Owner(OwnerKind.EVERYBODY)
"""The owner of content that was once obtained without credentials."""
