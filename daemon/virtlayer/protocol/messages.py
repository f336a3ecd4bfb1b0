# SPDX-License-Identifier: LGPL-2.1-or-later
"""All messages from the service to the keeper; ``calls`` has their requests and replies.

A request is ``{"id": number, "ask": message, "with": {...}}``. The reply has its number, and is
``{"id": number, "done": {...}}`` or ``{"id": number, "error": name, "text": message}``. Requests
are answered as they are done, in any order.
"""

from enum import StrEnum


class Message(StrEnum):
    """The messages; each is checked in ``keeper`` as if the service were compromised."""

    HELLO = "hello"  # who the keeper is: whether root
    LIST_POOLS = "list-pools"  # all pools of any kind: state, capacity, free space
    FIND_POOL = "find-pool"  # a pool by its name
    FIND_VOLUMES = "find-volumes"  # volumes of a pool: all, or some by their names
    FIND_FILES = "find-files"  # which names are in the pool's directory, without libvirt
    SPACE = "space"  # how much can still be written into a pool
    USERS = "users"  # who needs the volumes of a pool
    DELETE = "delete"  # delete volumes of ours that nothing uses, and their records; needs the lock
    SWEEP = "sweep"  # remove what jobs left in a pool that no longer run, on any host

    CLAIM = "claim"  # volumes that a job counts on, and layers that it builds; its lock
    BEGIN = "begin"  # find a pool by its name, claim volumes, and make a staging directory
    LOCK = "lock"  # the lock of a pool, and what is claimed there
    RELEASE = "release"  # end a claim, a lock, or a staging directory with the programs in it
    LIST_RECORDS = "list-records"  # which records a pool has, if any changed
    READ_RECORDS = "read-records"  # their contents, as one memory file
    PUT_RECORD = "put-record"  # write or delete a record, unless another process changed it

    STAGE = "stage"  # a new staging directory of a claim
    CREATE_OVERLAY = "create-overlay"  # make an empty overlay
    LINK = "link"  # hard-link layers into a staging directory, for QEMU's programs
    FLUSH = "flush"  # a finished file or directory: checked, its mode set, on disk
    PLACE = "place"  # give a flushed file or directory its name in the pool
    REGISTER = "register"  # let libvirt find placed volumes, and check how it describes them
    WITHDRAW = "withdraw"  # remove a volume that this connection has placed

    START_PROGRAM = "start-program"  # a worker or one of QEMU's programs; its pidfd
    WAIT_PROGRAM = "wait-program"  # its exit status, and the end of its standard error
    END_PROGRAM = "end-program"  # ask it to end, or kill it

    DEFINE_DOMAIN = "define-domain"  # check, or make, a domain; or find out if KVM runs guests
    LIST_DOMAINS = "list-domains"  # the domains of ours, at once or when something differs
    CONTROL_DOMAIN = "control-domain"  # start, press the power button, end, or remove a domain
    OPEN_PORT = "open-port"  # a log file, the input or the console of a domain
