"""Part of the command line about self-hosted engines."""

import click

from .fit import fit
from .launch import serving_launch, serving_print
from .plan import plan
from .status import status
from .tune import serving_tune
from .validate import policy_, validate


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
