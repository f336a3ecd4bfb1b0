# SPDX-License-Identifier: LGPL-2.1-or-later
"""The details of a call for polkit's rules and prompts: everything but secrets."""

import dataclasses
from collections.abc import Mapping

from virtlayer.service.bus.options.parsing import CONFIDENTIAL, is_descriptor

_GIVEN = "given"


def details_of(options: object, **arguments: str) -> dict[str, str]:
    """Return the arguments and options of a call as texts, by their names on the bus.

    Omitted options are included with their defaults, if they have any. For a descriptor, the text
    only says that it was passed.

    Args:
        options: The result of ``parse_options``.
        arguments: Further details of the call; they override options of these names.
    """
    assert dataclasses.is_dataclass(options)
    texts = {
        field.name: _GIVEN if is_descriptor(field) else _text(getattr(options, field.name))
        for field in dataclasses.fields(options)
        if not field.metadata[CONFIDENTIAL] and getattr(options, field.name) is not None
    }
    return {name.replace("_", "-"): text for name, text in (texts | arguments).items()}


def _text(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str() | int():
            return str(value)
        case Mapping():
            return ", ".join(value)
        case [*several]:
            return ", ".join(_part(one) for one in several)
    raise AssertionError(f"no text for polkit from {type(value)}")


def _part(value: object) -> str:
    """Return the text of a value in a list; for a range of IDs as the command takes it."""
    return ":".join(str(number) for number in value) if isinstance(value, list) else str(value)
