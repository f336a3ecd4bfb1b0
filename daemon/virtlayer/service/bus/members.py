# SPDX-License-Identifier: LGPL-2.1-or-later
"""Declares the D-Bus interfaces of objects: their methods, signals and properties.

A subclass of ``Interface`` has a name and decorated functions. The decorators contain the types on
the bus, as signatures of the D-Bus Specification, because introspection shows them.
"""

import functools
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol, cast

_MARK = "__dbus_member__"


@dataclass(frozen=True, slots=True)
class Argument:
    """A named argument."""

    name: str
    signature: str


@dataclass(frozen=True, slots=True)
class Method:
    """A method: its arguments and results, and the name of its function.

    Attributes:
        waits: Whether it waits for a job, and is counted apart from other calls.
        private: Whether it is for the owners of its object and managers only.
        large: Whether what it gives can be so much that it is made in a thread.
        of_pool: Whether it is large and waits for the pool that its first argument names.
    """

    name: str
    takes: tuple[Argument, ...]
    gives: tuple[Argument, ...]
    function: str = ""
    waits: bool = False
    private: bool = False
    large: bool = False
    of_pool: bool = False


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal and its arguments."""

    name: str
    carries: tuple[Argument, ...]


class Emits(StrEnum):
    """The signal when a property changes (EmitsChangedSignal)."""

    VALUE = "true"
    CONST = "const"
    NOTHING = "false"


@dataclass(frozen=True, slots=True)
class Property:
    """A property that can be read, and the name of the function that reads it.

    Attributes:
        private: Whether it is for the owners of its object and managers only.
        bulky: Whether a reply about all objects leaves it out when the reply becomes too large.
    """

    name: str
    signature: str
    emits: Emits
    function: str = ""
    private: bool = False
    bulky: bool = False


def signature_of(arguments: tuple[Argument, ...]) -> str:
    """The signature of a body with these arguments."""
    return "".join(argument.signature for argument in arguments)


class Outlet(Protocol):
    """Where an exported interface sends its signals."""

    def emit(self, path: str, interface: str, member: Signal, body: list[object]) -> None:
        """Send a signal."""

    def announce(self, path: str, interface: "Interface", functions: frozenset[str]) -> None:
        """Send PropertiesChanged for the properties of these functions."""


class Interface:
    """One interface of one object."""

    interface: ClassVar[str]
    methods: ClassVar[Mapping[str, Method]] = {}
    signals: ClassVar[Mapping[str, Signal]] = {}
    properties: ClassVar[Mapping[str, Property]] = {}

    def __init_subclass__(cls) -> None:
        # Also those of its bases: an interface with many members is divided by topic.
        declared = [value for base in reversed(cls.__mro__) for value in vars(base).values()]
        members = [getattr(value, _MARK, None) for value in declared]
        cls.methods = {found.name: found for found in members if isinstance(found, Method)}
        cls.signals = {found.name: found for found in members if isinstance(found, Signal)}
        cls.properties = {found.name: found for found in members if isinstance(found, Property)}

    def __init__(self) -> None:
        self._place: tuple[Outlet, str] | None = None

    @property
    def owners(self) -> Collection[int]:
        """Return the uids of the users who see its private properties, in addition to managers."""
        return ()

    def exported(self, outlet: Outlet, path: str) -> None:
        """Set the emitter of signals; for the exporter."""
        self._place = (outlet, path)

    def unexported(self) -> None:
        """Stop sending signals; for the exporter."""
        self._place = None

    def announce(self, *functions: str) -> None:
        """Signal a change of the properties that these functions read."""
        if self._place is not None:
            outlet, path = self._place
            outlet.announce(path, self, frozenset(functions))

    def emit(self, member: Signal, body: list[object]) -> None:
        """Send a signal, if exported."""
        if self._place is not None:
            outlet, path = self._place
            outlet.emit(path, self.interface, member, body)


def method[**P, R](
    name: str,
    *,
    takes: Mapping[str, str] | None = None,
    gives: Mapping[str, str] | None = None,
    waits: bool = False,
    private: bool = False,
    large: bool = False,
    of_pool: bool = False,
) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """Declare a method.

    The function gets the call (``exporter.Call``) and the arguments, and returns None, the one
    value, or a tuple of values.

    Args:
        name: Of the method.
        takes: The signatures of its arguments by their names.
        gives: The signatures of its results by their names.
        waits: Whether it waits for a job.
        private: Whether it is for ``Interface.owners`` and managers only.
        large: Whether its results can be many; what the function returns is not changed later.
        of_pool: Whether they can be many, and it waits for the pool that its first argument names.
            Such calls take turns for each pool: one that does not answer holds up no others.
    """

    def decorate(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        member = Method(
            name,
            _arguments(takes),
            _arguments(gives),
            _name_of(function),
            waits=waits,
            private=private,
            large=large or of_pool,
            of_pool=of_pool,
        )
        setattr(function, _MARK, member)
        return function

    return decorate


def dbus_property[**P, R](
    name: str,
    signature: str,
    *,
    emits: Emits = Emits.VALUE,
    private: bool = False,
    bulky: bool = False,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare a property; the function returns its value.

    Args:
        name: Of the property.
        signature: Of its value.
        emits: What happens on the bus when it changes.
        private: Whether it is for ``Interface.owners`` and managers only.
        bulky: Whether a reply about all objects leaves it out when the reply becomes too large.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        member = Property(name, signature, emits, _name_of(function), private, bulky)
        setattr(function, _MARK, member)
        return function

    return decorate


def signal[F: Callable[..., None]](name: str, /, **carries: str) -> Callable[[F], F]:
    """Declare a signal; calling the decorated function emits it, with its arguments by place."""
    member = Signal(name, _arguments(carries))

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def emit(self: Interface, *values: object) -> None:
            self.emit(member, list(values))

        setattr(emit, _MARK, member)
        return cast("F", emit)

    return decorate


def _arguments(named: Mapping[str, str] | None) -> tuple[Argument, ...]:
    return tuple(Argument(name, signature) for name, signature in (named or {}).items())


def _name_of(function: Callable[..., object]) -> str:
    return str(getattr(function, "__name__", ""))
