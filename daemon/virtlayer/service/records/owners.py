# SPDX-License-Identifier: LGPL-2.1-or-later
"""The owners of content: all users, a repository, or one user."""

from dataclasses import dataclass
from enum import StrEnum

from virtlayer.service.records.fields import Text


class OwnerKind(StrEnum):
    """The kinds of owners."""

    EVERYBODY = "everybody"
    REPOSITORY = "repository"
    USER = "user"


@dataclass(frozen=True, slots=True, order=True)
class Owner:
    """An owner of content.

    Attributes:
        kind: All users, a repository, or one user.
        name: ``host[:port]/path`` of a repository, the UID of a user; "" for all users.
    """

    kind: OwnerKind
    name: Text = ""


EVERYBODY = Owner(OwnerKind.EVERYBODY)
"""The owner of content that was once obtained without credentials."""
