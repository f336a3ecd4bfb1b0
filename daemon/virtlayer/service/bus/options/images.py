# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options of the calls about images and their pools."""

import dataclasses
from dataclasses import dataclass

from virtlayer.errors import InvalidArgument
from virtlayer.service.bus.options.parsing import option
from virtlayer.service.bus.options.source import SourceOptions
from virtlayer.service.bus.options.volumes import CustomizationOptions
from virtlayer.service.operations.new_volume import NewVolume
from virtlayer.sizes import check_virtual_size


@dataclass(frozen=True, slots=True, kw_only=True)
class PullOptions(SourceOptions, CustomizationOptions):
    """The options of Pull."""

    name: str | None = option("s")
    format: str = option("s", default="qcow2")
    cache: bool = option("b", default=True)
    size: int | None = option("t")
    volume: str | None = option("s")
    volume_size: int | None = option("t")
    id_map: str | None = option("s")
    replace: bool = option("b", default=False)

    def __post_init__(self) -> None:
        # Checked here, where the name of the option is known.
        if self.volume_size is not None:
            check_virtual_size('option "volume-size"', self.volume_size)

    @property
    def wanted_volume(self) -> NewVolume | None:
        """Return the requested volume; None if there is none.

        Raises:
            InvalidArgument: The options are invalid, or require a volume that was not requested.
        """
        if self.volume is not None:
            return self.new_volume(self.volume, self.volume_size)
        names = {field.name for field in dataclasses.fields(CustomizationOptions)}
        for field in dataclasses.fields(self):
            is_about_it = field.name in names | {"volume_size"}
            if is_about_it and getattr(self, field.name) != field.default:
                raise InvalidArgument(
                    f'The option "{field.name.replace("_", "-")}" requires the option "volume".'
                )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class TagOptions:
    """The options of TagImage."""

    replace: bool = option("b", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneOptions:
    """The options of Prune."""

    dry_run: bool = option("b", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulateOptions:
    """The options of Populate."""

    due: bool = option("b", default=False)
