# SPDX-License-Identifier: LGPL-2.1-or-later
"""The members of ``org.virtlayer1.Manager`` about machines."""

from virtlayer.service.bus.authority import Authority
from virtlayer.service.bus.image import ImageObjects
from virtlayer.service.bus.job_starter import JobStarter
from virtlayer.service.bus.members import Interface, signal
from virtlayer.service.operations.services import Services


class Machines(Interface):
    """The part of the root object that creates and controls machines.

    Args:
        services: The parts that the operations use.
        authority: Authorizes calls.
        images: The objects of the images.
    """

    def __init__(self, services: Services, authority: Authority, images: ImageObjects) -> None:
        super().__init__()
        self._services = services
        self._authority = authority
        self._images = images
        self._jobs = JobStarter(services.jobs, authority)

    @signal("DomainChanged", name="s", state="s")
    def domain_changed(self, name: str, state: str) -> None:
        """Signal that a machine has another state."""
