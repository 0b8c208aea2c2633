"""Named: a prompt as code names it. Which words it stands for is decided at every call."""

import inspect
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ..errors import PromptError
from ..request import Prompt
from .files import check_name
from .opening import registry

PRODUCTION = "production"
"""The alias of a prompt that is named without one."""


@dataclass(frozen=True, slots=True)
class NamedPrompt:
    """A prompt of the registry, made by `prompt(...)`. `reference`: a version or an alias.

    As `Variant(prompt=...)` it goes in place of every other version of its name, while the step's
    own function asks as ever: tenant, item and stratum stay what the function says.
    """

    name: str
    reference: str = PRODUCTION

    def __str__(self) -> str:
        return f"{self.name}@{self.reference}"

    def __call__(self, /, **fields: object) -> Prompt:
        """Return the prompt with its fields filled: text or numbers, by name.

        Raises UnknownPromptError, PromptError for a field without a value, StoreError.
        """
        other = _IN_PLACE.get()
        chosen = other if other is not None and other.name == self.name else self
        return registry().find(self.name, chosen.reference).prompt(fields)

    def in_place(
        self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Call a prompt function with this version in place of the one it names.

        Raises PromptError where it names no such prompt: then nothing would have been tried.
        """
        with _in_place(self):
            prompted = function(*args, **kwargs)
        return self._later(prompted) if inspect.isawaitable(prompted) else self._checked(prompted)

    async def _later(self, prompted: Awaitable[Any]) -> Any:
        with _in_place(self):
            return self._checked(await prompted)

    def _checked(self, prompted: Any) -> Any:
        made_of = prompted.prompt_id if isinstance(prompted, Prompt) else None
        if made_of is None or made_of.name != self.name:
            raise PromptError(
                f"{self} cannot go in place of what the step asks: its function returned no prompt "
                f"made by prompt({self.name!r}). Let it return one, or give Variant(prompt=) a "
                "function."
            )
        return prompted


def prompt(name: str) -> NamedPrompt:
    """Name a prompt of the registry: "triage" (its alias `production`), "triage@v2".

    What it returns is called with the prompt's fields and gives a `Prompt`. Nothing is read before
    that. Raises PromptError for what is no name.
    """
    name, _, reference = name.partition("@")
    reference = reference or PRODUCTION
    check_name(name, "a prompt")
    check_name(reference, "a version or alias")
    return NamedPrompt(name, reference)


_IN_PLACE: ContextVar[NamedPrompt | None] = ContextVar("tierflow_prompt_in_place", default=None)


@contextmanager
def _in_place(named: NamedPrompt) -> Generator[None]:
    before = _IN_PLACE.set(named)
    try:
        yield
    finally:
        _IN_PLACE.reset(before)
