"""The command line's check that the prompts of a rollout are in the registry."""

from collections.abc import Iterable, Iterator
from contextlib import closing

from ...errors import PromptError
from ...prompting import Registry, open_registry
from ...prompting import prompt as named
from ...rollouts import Variant
from ...settings import Settings


def prompts_of(variants: Iterable[Variant]) -> Iterator[str]:
    """Yield the registered prompts that variants ask, as "NAME@VERSION" or "NAME@ALIAS"."""
    for each in variants:
        if each.prompt_name is not None:
            yield each.prompt_name
        elif isinstance(each.prompt, type(named("any"))):
            yield str(each.prompt)


def missing_prompts(wanted: Iterable[str], current: Settings) -> list[str]:
    """Say of each prompt that the registry lacks, or that cannot be read, what is wrong.

    Raises StoreError.
    """
    names = list(dict.fromkeys(wanted))
    if not names:
        return []
    with closing(open_registry(current)) as registry:
        return [said for name in names if (said := _fault(name, registry))]


def _fault(name: str, registry: Registry) -> str:
    try:
        chosen = named(name)
        registry.look(chosen.name, chosen.reference)
    except PromptError as exc:
        return str(exc)
    return ""
