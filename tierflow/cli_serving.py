"""Ground: the command line's part about self-hosted engines."""

import click

from .cli_serving_fit import fit
from .cli_serving_launch import serving_launch, serving_print
from .cli_serving_plan import plan
from .cli_serving_status import status
from .cli_serving_tune import serving_tune
from .cli_serving_validate import policy_, validate


@click.group()
def serving() -> None:
    """Look into self-hosted engines: how they do, and which serves what."""


for _each in (
    fit,
    serving_launch,
    plan,
    policy_,
    serving_print,
    status,
    serving_tune,
    validate,
):
    serving.add_command(_each)
