"""Ground: the command line's part about self-hosted engines."""

import click

from .cli_serving_fit import fit
from .cli_serving_plan import plan


@click.group()
def serving() -> None:
    """Look into self-hosted engines: how many, and set up how."""


serving.add_command(fit)
serving.add_command(plan)
