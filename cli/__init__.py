"""cli: the command line. Each command reads one room; `judge` and `route` ask models."""

from .app import cli, main

__all__ = ["cli", "main"]
