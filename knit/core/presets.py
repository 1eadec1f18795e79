"""What servers need so that they serve a certificate: places that a node file can begin with."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from knit.core.model.places import Place, Probe

PRESETS: Final[Mapping[str, Place]] = MappingProxyType(
    {
        one.name: one
        for one in (
            Place(
                name="nginx", check="nginx -t", reload="systemctl reload nginx", probe=Probe(connect="127.0.0.1:443")
            ),
        )
    }
)
