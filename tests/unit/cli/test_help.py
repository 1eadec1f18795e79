"""What the help says of values that the code knows."""

from __future__ import annotations

import click

from knit.cli.certs import add_command
from knit.core.model.keys import KeyType


def test_the_help_names_every_type_of_key() -> None:
    option = next(one for one in add_command.params if one.name == "key_type")
    assert isinstance(option, click.Option)
    assert option.help is not None
    assert [word for word in KeyType if word not in option.help] == []
