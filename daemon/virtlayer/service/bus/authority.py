# SPDX-License-Identifier: LGPL-2.1-or-later
"""Authorizes calls: by the user on a session bus, by polkit on the system bus.

polkit identifies a caller by its unique name on the bus, which is never reused.
"""

import asyncio
import os
from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

from dbus_next.signature import Variant

from virtlayer.dbus import names
from virtlayer.dbus.connection import BusError, Connection
from virtlayer.errors import NotAuthorized
from virtlayer.service.bus.call import Call
from virtlayer.service.bus.callers import Callers
from virtlayer.service.bus.visibility import OrdinaryUser, SeesAll, Viewer

_ANSWER_SECONDS = 20
"""Seconds for polkit to run its rules; a call counts in the quotas as long as it waits."""
_ALLOW_USER_INTERACTION = 1
"""A flag of CheckAuthorizationFlags."""


class Action(StrEnum):
    """The polkit actions."""

    INSPECT = "org.virtlayer1.inspect"
    PULL = "org.virtlayer1.pull"
    PULL_LOCAL = "org.virtlayer1.pull-local"
    REMOVE = "org.virtlayer1.remove"
    REMOVE_VOLUME = "org.virtlayer1.remove-volume"
    PRUNE = "org.virtlayer1.prune"
    POPULATE = "org.virtlayer1.populate"
    RESCAN = "org.virtlayer1.rescan"
    CREATE_VOLUME = "org.virtlayer1.create-volume"
    CREATE_DOMAIN = "org.virtlayer1.create-domain"
    MANAGE_DOMAIN = "org.virtlayer1.manage-domain"
    REMOVE_DOMAIN = "org.virtlayer1.remove-domain"
    CONSOLE = "org.virtlayer1.console"
    CANCEL_OTHERS = "org.virtlayer1.cancel-others"
    READ_DETAILS = "org.virtlayer1.read-details"


class Authority(Protocol):
    """Authorizes calls on one bus."""

    async def admit(self, call: Call) -> None:
        """Admit a call.

        Raises:
            NotAuthorized: The service does not serve this caller.
        """

    async def authorize(self, call: Call, action: Action, details: Mapping[str, str]) -> None:
        """Authorize an action of a call.

        Args:
            call: The call; a prompt is possible if the call allows it.
            action: The action.
            details: The details that rules and prompts can see.

        Raises:
            NotAuthorized: The caller is not authorized.
        """

    async def allows(self, call: Call, action: Action, details: Mapping[str, str]) -> bool:
        """Return whether a call may do something, without prompting.

        Args:
            call: The call.
            action: The action.
            details: The details that rules can see.
        """

    async def uid(self, call: Call) -> int:
        """Return the caller's uid."""

    async def viewer(self, call: Call) -> Viewer:
        """Return the viewer for private values, without a prompt."""


class SessionAuthority:
    """The authority on a session bus: the daemon's user may do everything, others nothing."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    async def admit(self, call: Call) -> None:
        """Admit the user that the daemon runs as."""
        if await self.uid(call) != os.geteuid():
            raise NotAuthorized("This virtlayerd serves only the user that it runs as.")

    async def authorize(self, _call: Call, _action: Action, _details: Mapping[str, str]) -> None:
        """Authorize all calls of an admitted caller."""

    async def allows(self, _call: Call, _action: Action, _details: Mapping[str, str]) -> bool:
        """Authorize all calls of an admitted caller."""
        return True

    async def uid(self, call: Call) -> int:
        """Return the caller's uid."""
        return await self._callers.uid(call.sender)

    async def viewer(self, _call: Call) -> Viewer:
        """Return a viewer that sees everything: all admitted callers do."""
        return SeesAll()


class SystemAuthority:
    """The authority on the system bus: root may do everything, polkit decides for others."""

    def __init__(self, connection: Connection, callers: Callers) -> None:
        self._connection = connection
        self._callers = callers

    async def admit(self, call: Call) -> None:
        """Admit every caller: all users may read."""

    async def authorize(self, call: Call, action: Action, details: Mapping[str, str]) -> None:
        """Authorize the action if polkit does. Without polkit, only root is authorized."""
        if await self.uid(call) == 0:
            return
        try:
            allowed, challenge = await self._check(
                call.sender, action, details, interactive=call.interactive
            )
        except BusError as error:
            raise NotAuthorized(
                f"Permission denied: {action} is allowed to root only, because polkit is "
                f"unavailable ({error.text}). Run the command as root, or use the virtlayerd of "
                "your session (virtlayer --user)."
            ) from error
        if not allowed:
            raise NotAuthorized(
                f"Permission denied: polkit does not allow {action} "
                + (
                    "without authentication. Run a polkit agent, or run the command as root."
                    if challenge
                    else "for you. Ask the administrator for a rule (virtlayerd(8)), or use the "
                    "virtlayerd of your session (virtlayer --user)."
                )
            )

    async def allows(self, call: Call, action: Action, details: Mapping[str, str]) -> bool:
        """Return whether polkit allows it without a prompt. Without polkit, only root may do it."""
        if await self.uid(call) == 0:
            return True
        try:
            allowed, _ = await self._check(call.sender, action, details, interactive=False)
        except BusError:
            return False
        return allowed

    async def viewer(self, call: Call) -> Viewer:
        """Return the caller, who is a manager if polkit says so without a prompt."""
        uid = await self.uid(call)
        if uid == 0:
            return SeesAll()
        return OrdinaryUser(uid, lambda: self.allows(call, Action.READ_DETAILS, {}))

    async def _check(
        self, sender: str, action: Action, details: Mapping[str, str], *, interactive: bool
    ) -> tuple[bool, bool]:
        """Return whether polkit allows an action, and whether it would after a prompt.

        Raises:
            BusError: polkit does not answer, or without a prompt not in time.
        """
        question = [
            ["system-bus-name", {"name": Variant("s", sender)}],
            str(action),
            dict(details),
            _ALLOW_USER_INTERACTION if interactive else 0,
            "",
        ]
        try:
            # A prompt may take any time.
            async with asyncio.timeout(None if interactive else _ANSWER_SECONDS):
                [(allowed, challenge, _details)] = await self._connection.ask(
                    names.POLKIT_SERVICE,
                    names.POLKIT_PATH,
                    names.POLKIT_AUTHORITY,
                    "CheckAuthorization",
                    "(sa{sv})sa{ss}us",
                    question,
                )
        except TimeoutError:
            raise BusError(
                names.STANDARD_ERROR_PREFIX + "NoReply", f"no reply in {_ANSWER_SECONDS} seconds"
            ) from None
        return bool(allowed), bool(challenge)

    async def uid(self, call: Call) -> int:
        """Return the caller's uid."""
        return await self._callers.uid(call.sender)
