"""The command line's way to a step: by its file or module, and its name there."""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any, cast

import click

_STEP = "module:function or path/to/file.py:function"


def load_step(step: str) -> Any:
    """Return the step that is named, a `tasks.LLMTask`. Its file is imported.

    Raises click.UsageError for a name that cannot be one, click.ClickException for no such step.
    """
    from ..tasks import LLMTask  # noqa: PLC0415  # imports Prefect

    where, colon, name = step.rpartition(":")
    if not colon or not where or not name:
        raise click.UsageError(f"{step!r} names no step. Write {_STEP}.")
    found = getattr(_module(where), name, None)
    if not isinstance(found, LLMTask):
        raise click.ClickException(f"{where} has no step {name!r}. Name a function of @llm_task.")
    return cast("Any", found)


def _module(where: str) -> Any:
    path = Path(where)
    # What the file imports lies beside it, or in the working directory.
    sys.path[:0] = [str(path.resolve().parent) if path.suffix == ".py" else str(Path.cwd())]
    try:
        if path.suffix != ".py":
            return importlib.import_module(where)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise click.UsageError(f"{path} is no Python file. Write {_STEP}.")
        module = importlib.util.module_from_spec(spec)
        # Where classes of the file look for their own names.
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    except (ImportError, OSError, SyntaxError) as exc:
        raise click.ClickException(f"{where} cannot be imported: {exc}. Write {_STEP}.") from exc
    else:
        return module
