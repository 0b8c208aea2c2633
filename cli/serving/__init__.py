"""serving: self-hosted engines, and which of them serves what. Part of the command line."""

from .commands import serving
from .status import pool_load

__all__ = ["pool_load", "serving"]
