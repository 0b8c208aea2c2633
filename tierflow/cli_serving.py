"""Ground: the command line's part about self-hosted engines."""

import click

from .cli_serving_status import status
from .cli_serving_validate import policy_, validate


@click.group()
def serving() -> None:
    """Look into pools of self-hosted engines, and decide which of them serves what."""


serving.add_command(policy_)
serving.add_command(status)
serving.add_command(validate)
