"""judge: what is proven of judges, and by which items. Part of the command line."""

from .commands import judge

__all__ = ["judge"]
