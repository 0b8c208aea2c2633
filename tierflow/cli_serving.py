"""Ground: the command line's part about self-hosted engines."""

import click

from .cli_serving_validate import policy_, validate


@click.group()
def serving() -> None:
    """Look into self-hosted engines: which pool serves what."""


serving.add_command(policy_)
serving.add_command(validate)
