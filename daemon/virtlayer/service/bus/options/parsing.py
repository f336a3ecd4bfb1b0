# SPDX-License-Identifier: LGPL-2.1-or-later
"""Declares options, and parses an ``a{sv}`` into a typed value, or raises an error."""

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dbus_next.signature import Variant

from virtlayer.errors import InvalidArgument, UnknownOption
from virtlayer.service.bus.call import Call

CONFIDENTIAL = "confidential"
"""The metadata key of a field that must not appear in logs or details for polkit."""
_FOR_JOB = "for job"
"""The metadata key of a descriptor that is also needed after the call."""
_SIGNATURE = "signature"
DESCRIPTOR = "h"
DESCRIPTORS = "a{sh}"
"""Descriptors by names."""


def option(
    signature: str, *, default: object = None, secret: bool = False, for_job: bool = False
) -> Any:
    """Declare a field that is an option.

    Args:
        signature: Its type on the bus.
        default: Its value if the caller omits it.
        secret: Whether it must not appear in logs or details for polkit.
        for_job: Whether it is a descriptor that is also needed after the call.
    """
    metadata = {_SIGNATURE: signature, CONFIDENTIAL: secret, _FOR_JOB: for_job}
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


def is_descriptor(field: dataclasses.Field[Any]) -> bool:
    """Whether an option is a descriptor."""
    return bool(field.metadata[_SIGNATURE] == DESCRIPTOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOptions:
    """The options of a method that has none."""


def parse_options[T](
    kind: type[T],
    options: Mapping[str, Variant],
    call: Call,
    belongings: contextlib.ExitStack | None = None,
) -> T:
    """Turn the options of a call into a value of this dataclass.

    Args:
        kind: ``auth_fd`` there is ``auth-fd`` on the bus.
        options: The options that the caller has sent.
        call: The call that has the descriptors.
        belongings: Owns the descriptors that are also needed after the call; None if the options
            have no such descriptors. The others are closed with the call.

    Raises:
        UnknownOption: The call has no such option.
        InvalidArgument: An option is of another type.
    """
    assert dataclasses.is_dataclass(kind)
    known = {field.name.replace("_", "-"): field for field in dataclasses.fields(kind)}
    values: dict[str, object] = {}
    for key, given in options.items():
        if key not in known:
            raise UnknownOption(
                f'Unknown option "{key}". Known: {", ".join(sorted(known)) or "none"}.'
            )
        field = known[key]
        expected = field.metadata[_SIGNATURE]
        if given.signature != expected:
            raise InvalidArgument(
                f'The option "{key}" must be of type "{expected}", not "{given.signature}".'
            )
        value = given.value
        if expected == DESCRIPTOR and field.metadata[_FOR_JOB]:
            assert belongings is not None, f'no owner for the descriptor of "{key}"'
            value = call.take_descriptor(value, belongings)
        elif expected == DESCRIPTOR:
            value = call.lend_descriptor(value)
        elif expected == DESCRIPTORS:
            value = {name: call.lend_descriptor(at) for name, at in value.items()}
        values[field.name] = value
    return kind(**values)
