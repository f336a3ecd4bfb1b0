# SPDX-License-Identifier: LGPL-2.1-or-later
"""Serves objects on a connection: finds the method, runs it, and always replies."""

import asyncio
import functools
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from dbus_next.message import Message

from virtlayer.dbus import names
from virtlayer.dbus.connection import Connection, MessageTooLarge
from virtlayer.dbus.values import wire_value
from virtlayer.errors import Busy, Cancelled, VirtlayerError
from virtlayer.printable import printable
from virtlayer.service.bus.call import Call, ReplyDescriptor, StandardError
from virtlayer.service.bus.members import Interface, Method, Signal, signature_of
from virtlayer.service.bus.objects import Interfaces, ObjectTree
from virtlayer.service.bus.quotas import Quotas
from virtlayer.service.bus.rounds import Rounds
from virtlayer.service.bus.standard import (
    ObjectManager,
    Properties,
    bare_interfaces,
    standard_interfaces,
)
from virtlayer.service.bus.visibility import NOTHING_HIDDEN, Visibility, check_visible
from virtlayer.service.jobs.engine import defect
from virtlayer.service.jobs.turns import Turns

_log = logging.getLogger(__name__)

_NOBODY_IN_PARTICULAR = -1
"""The uid of all callers if calls are not counted."""
_LARGE_ANSWERS = 1
"""Large replies that are made at the same time: each takes memory and processor time."""

type Admission = Callable[[Call], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Marshalled:
    """A reply as the bytes of its message."""

    content: bytearray


class Exporter:
    """The objects of one connection.

    Args:
        connection: Where they are served.
        root: The path of the object that manages the others.
        admit: Raises the error for a caller that is not served.
        quotas: Counts the calls of each user; None to take any number.
        visibility: The private values that callers may see.
    """

    def __init__(
        self,
        connection: Connection,
        root: str,
        admit: Admission,
        quotas: Quotas | None = None,
        visibility: Visibility = NOTHING_HIDDEN,
    ) -> None:
        self._connection = connection
        self._admit = admit
        self._quotas = quotas
        self._visibility = visibility
        self._tree = ObjectTree()
        self._root = root
        self._manager = ObjectManager(self._tree, root, visibility)
        self._calls: set[asyncio.Task[object]] = set()
        self._large = Turns(_LARGE_ANSWERS)
        self._large_of_pool: WeakValueDictionary[str, Turns] = WeakValueDictionary()
        self._rounds = Rounds()
        self._loop = asyncio.get_running_loop()
        self.last_call = self._loop.time()
        """When the last call was answered, by the clock of the event loop."""

    def listen(self) -> None:
        """Accept calls from now on."""
        self._connection.on_call = self._begin

    @property
    def calls(self) -> int:
        """The number of calls that are being served."""
        return len(self._calls)

    def export(self, path: str, *interfaces: Interface) -> None:
        """Add an object, and announce it."""
        own = {interface.interface: interface for interface in interfaces}
        if path == self._root:
            own[names.OBJECT_MANAGER] = self._manager
        everything: Interfaces = own | dict(standard_interfaces(self._tree, path, self._visibility))
        self._tree.add(path, everything)
        for interface in everything.values():
            interface.exported(self, path)
        if path != self._root:
            self._manager.announce_added(path, everything)

    def unexport(self, path: str) -> None:
        """Remove an object, and announce it."""
        interfaces = self._tree.remove(path)
        for interface in interfaces.values():
            interface.unexported()
        self._manager.announce_removed(path, interfaces)

    def emit(self, path: str, interface: str, member: Signal, body: list[object]) -> None:
        """Send a signal. A failure is an internal error, but does not stop a job."""
        try:
            signature, values = signature_of(member.carries), [wire_value(value) for value in body]
            self._connection.send(
                Message.new_signal(path, interface, member.name, signature, values)
            )
        except Exception:  # any error: the job of the caller must go on
            _log.exception("The signal %s.%s could not be sent.", interface, member.name)

    def announce(self, path: str, interface: Interface, functions: frozenset[str]) -> None:
        """Send PropertiesChanged for the properties that these functions read."""
        properties = (self._tree.get(path) or {}).get(names.PROPERTIES)
        assert isinstance(properties, Properties), "every object has them"
        properties.announce_of(interface, functions)

    async def finish(self, patience: float) -> None:
        """Wait for the calls that are being served; then cancel the remaining ones.

        Args:
            patience: The time to wait, in seconds.
        """
        if self._calls:
            _done, late = await asyncio.wait(self._calls, timeout=patience)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def _begin(self, message: Message) -> None:
        call = Call(message)
        try:
            interface, method = self._find(message)
            if self._quotas is not None:
                self._quotas.begin(call, waits=method.waits)
        except (StandardError, Busy) as error:
            self._refuse(call, error)
            return
        task = self._loop.create_task(self._serve(call, interface, method))
        self._calls.add(task)
        # The reply is sent here: a task that is cancelled early never runs its own finally.
        task.add_done_callback(functools.partial(self._end, call, method))

    async def _serve(self, call: Call, interface: Interface, method: Method) -> object:
        await self._admit(call)
        uid = _NOBODY_IN_PARTICULAR
        if self._quotas is not None:
            uid = await self._quotas.identify(call)
        await self._rounds.turn(uid)
        if method.private:
            await check_visible(self._visibility, call, interface, method.name)
        function = getattr(interface, method.function)
        if not method.large:
            result: object = await function(call, *call.message.body)
            return result
        # Also if nobody waits for the answer: it costs as much.
        async with self._turns(call, method).slot(uid):
            result = await function(call, *call.message.body)
            return await self._marshalled(call, method, result) if call.wants_reply else result

    def _turns(self, call: Call, method: Method) -> Turns:
        """Who makes large answers in turn: a pool that does not answer holds up no others."""
        if not method.of_pool:
            return self._large
        return self._large_of_pool.setdefault(call.message.body[0], Turns(_LARGE_ANSWERS))

    async def _marshalled(self, call: Call, method: Method, result: object) -> _Marshalled:
        signature = signature_of(method.gives)
        return _Marshalled(
            await self._connection.marshalled_reply(
                call.message, signature, lambda: _body(method, result)
            )
        )

    def _end(self, call: Call, method: Method, task: asyncio.Task[object]) -> None:
        self._calls.discard(task)
        if task.cancelled():
            self._refuse(call, Cancelled("The call was cancelled: virtlayerd is stopping."))
            return
        try:
            result = task.result()
            if isinstance(result, _Marshalled):
                self._connection.send_marshalled(result.content)
            else:
                self._reply(call, method, result)
        except Exception as error:  # any error: the caller gets a reply
            self._refuse(call, error)
        else:
            self._close(call)

    def _reply(self, call: Call, method: Method, result: object) -> None:
        descriptors = [result.number] if isinstance(result, ReplyDescriptor) else []
        try:
            if call.wants_reply:
                signature = signature_of(method.gives)
                body = _body(method, 0 if descriptors else result)
                self._connection.reply(call.message, signature, body, descriptors)
        finally:
            # The connection has copies.
            for descriptor in descriptors:
                os.close(descriptor)

    def _refuse(self, call: Call, error: Exception) -> None:
        self._connection.reply_error(call.message, *self._error(call, error))
        self._close(call)

    def _close(self, call: Call) -> None:
        call.close()
        self.last_call = self._loop.time()

    def _error(self, call: Call, error: Exception) -> tuple[str, str]:
        match error:
            case StandardError():
                return error.name, printable(error.text)
            case VirtlayerError():
                return names.ERROR_PREFIX + error.name, error.message
            case MessageTooLarge():
                return names.STANDARD_ERROR_PREFIX + "LimitsExceeded", str(error)
        place = f"{call.message.interface}.{call.message.member}"
        _log.error("The call %s had an internal error.", place, exc_info=error)
        hidden = defect(place)
        return names.ERROR_PREFIX + hidden.name, hidden.message

    def _find(self, message: Message) -> tuple[Interface, Method]:
        interfaces = self._tree.get(message.path)
        exists = interfaces is not None
        if interfaces is None:
            interfaces = bare_interfaces(self._tree, message.path)
        wanted = message.interface
        candidates = [one for name, one in interfaces.items() if wanted in {None, name}]
        for interface in candidates:
            if method := interface.methods.get(message.member):
                expected = signature_of(method.takes)
                if message.signature != expected:
                    raise StandardError(
                        "InvalidArgs",
                        f'{interface.interface}.{method.name} takes "{expected}", '
                        f'not "{message.signature}".',
                    )
                return interface, method
        if not exists and names.INTROSPECTABLE not in interfaces:
            raise StandardError("UnknownObject", f"No object {message.path}.")
        if not candidates:
            raise StandardError("UnknownInterface", f'{message.path} has no interface "{wanted}".')
        raise StandardError(
            "UnknownMethod", f'{message.path} has no method "{wanted or "*"}.{message.member}".'
        )


def _body(method: Method, result: object) -> list[object]:
    match len(method.gives):
        case 0:
            return []
        case 1:
            return [wire_value(result)]
    assert isinstance(result, tuple), f"{method.name} must return a tuple"
    return [wire_value(value) for value in result]
