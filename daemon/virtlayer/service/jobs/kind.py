# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kinds of jobs, and how the journal and messages describe a job."""

from enum import StrEnum


class Kind(StrEnum):
    """The kind of a job."""

    PULL = "pull"
    CREATE_VOLUME = "create-volume"
    REMOVE = "remove"
    PRUNE = "prune"
    POPULATE = "populate"
    RESCAN = "rescan"
    REMOVE_VOLUME = "remove-volume"
    CREATE_DOMAIN = "create-domain"
    START_DOMAIN = "start-domain"
    STOP_DOMAIN = "stop-domain"
    REMOVE_DOMAIN = "remove-domain"

    @property
    def controls_machine(self) -> bool:
        """Whether it controls a machine that exists: it transfers nothing, and writes no layers."""
        return self in {Kind.START_DOMAIN, Kind.STOP_DOMAIN, Kind.REMOVE_DOMAIN}

    def describe(self, source: str, pool: str) -> str:
        """Describe a job of this kind in the middle of a sentence.

        Args:
            source: The reference of the image, or its name in the pool; the name of the volume or
                domain; "" for a job without one.
            pool: The name of the pool; "" for a job in several pools.
        """
        return _DESCRIPTIONS[self].format(source=source, pool=pool)


_DESCRIPTIONS = {
    Kind.PULL: 'pull of {source} into the pool "{pool}"',
    Kind.CREATE_VOLUME: 'create-volume on the image "{source}" in the pool "{pool}"',
    Kind.REMOVE: 'remove of the image "{source}" from the pool "{pool}"',
    Kind.PRUNE: 'prune of the pool "{pool}"',
    Kind.POPULATE: "populate of the configured images",
    Kind.RESCAN: 'rescan of the pool "{pool}"',
    Kind.REMOVE_VOLUME: 'remove-volume of the volume "{source}" from the pool "{pool}"',
    Kind.CREATE_DOMAIN: 'create-domain of the image "{source}" in the pool "{pool}"',
    Kind.START_DOMAIN: 'start-domain of "{source}"',
    Kind.STOP_DOMAIN: 'stop-domain of "{source}"',
    Kind.REMOVE_DOMAIN: 'remove-domain of "{source}"',
}
