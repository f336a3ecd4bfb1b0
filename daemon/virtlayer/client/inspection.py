# SPDX-License-Identifier: LGPL-2.1-or-later
"""How the answer of Inspect reads on a terminal or in a log."""

from virtlayer.client.output import print_fields


def print_inspection(inspection: dict[str, object]) -> None:
    """Print what an image is; its whole config is for ``--json``."""
    fields = []
    for key, value in inspection.items():
        if key == "config":
            continue
        lines = [_line(item) for item in value] if isinstance(value, list) else [_line(value)]
        fields += [(key if index == 0 else "", line) for index, line in enumerate(lines)]
    print_fields(fields)


def _line(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(_line(inner) for inner in value.values())
    if isinstance(value, list):
        return " ".join(_line(inner) for inner in value)
    return str(value)
