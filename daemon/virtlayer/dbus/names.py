# SPDX-License-Identifier: LGPL-2.1-or-later
"""The names on the bus."""

SERVICE = "org.virtlayer1"
ROOT = "/org/virtlayer1"

MANAGER = "org.virtlayer1.Manager"
JOB = "org.virtlayer1.Job"
IMAGE = "org.virtlayer1.Image"

ERROR_PREFIX = "org.virtlayer1.Error."

INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
PROPERTIES = "org.freedesktop.DBus.Properties"
PEER = "org.freedesktop.DBus.Peer"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"

BUS_SERVICE = "org.freedesktop.DBus"
BUS_PATH = "/org/freedesktop/DBus"

PROGRESS_RULE = f"type='signal',sender='{SERVICE}',interface='{JOB}',member='ProgressChanged'"
DOMAIN_RULE = f"type='signal',sender='{SERVICE}',interface='{MANAGER}',member='DomainChanged'"
OWNER_RULE = f"type='signal',sender='{BUS_SERVICE}',member='NameOwnerChanged',arg0='{SERVICE}'"
"""These three are the rules of the bus for the signals that commands receive."""

POLKIT_SERVICE = "org.freedesktop.PolicyKit1"
POLKIT_PATH = "/org/freedesktop/PolicyKit1/Authority"
POLKIT_AUTHORITY = "org.freedesktop.PolicyKit1.Authority"

STANDARD_ERROR_PREFIX = "org.freedesktop.DBus.Error."


def job_path(number: int) -> str:
    """The object path of a job."""
    return f"{ROOT}/job/{number}"


def image_path(number: int) -> str:
    """The object path of an image, by its number in the catalog."""
    return f"{ROOT}/image/{number}"
