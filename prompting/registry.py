"""Registry: which version a name and a reference stand for, in the files and in the store.

The store goes over the files: for an alias that was moved there, and a version published there.
"""

import difflib
import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..errors import PromptError, StoreError, UnknownPromptError
from ..request import Prompt, PromptId
from .files import ALIASES, PromptFiles, check_name, in_order
from .store import Move, PromptStore
from .text import PromptText

_VERSION = re.compile(r"v\d+")
"""As versions are mostly called; nobody means an alias by that."""

_LOG = logging.getLogger("tierflow")

FRESH_S = 2.0
"""An alias that was moved, or a file that was edited, counts after so many seconds everywhere."""

Origin: TypeAlias = Literal["store", "file"]


@dataclass(frozen=True, slots=True)
class Pointer:
    """What an alias stands for, and who says so."""

    version: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class PromptVersion:
    """One version of a prompt. `origin`: where its text is from."""

    name: str
    version: str
    text: PromptText
    origin: Origin

    @property
    def id(self) -> PromptId:
        """What spans and the ledger say of it."""
        return PromptId(self.name, self.version, self.text.hash)

    def prompt(self, given: Mapping[str, object]) -> Prompt:
        """Return the prompt with its fields filled. Raises PromptError for one without a value.

        What it has no field for is left out: code that runs already may be asked in a version that
        does without.
        """
        prefix, ask = self.text.filled(
            {name: self._value(name, given) for name in self.text.fields}
        )
        return Prompt(
            prefix=prefix,
            ask=ask,
            examples=[(each.ask, each.result) for each in self.text.examples],
            # What is proven of a prompt is proven of its words, whatever is filled in.
            template=f"{self.name} {self.text.hash}",
            prompt_id=self.id,
        )

    def _value(self, name: str, given: Mapping[str, object]) -> str:
        whose = f"The field {name!r} of prompt {self.name}@{self.version}"
        if name not in given:
            others = [each for each in given if each not in self.text.fields]
            near = difflib.get_close_matches(name, others, n=1)
            instead = f" instead of {near[0]!r:.60}" if near else ""
            raise PromptError(f"{whose} has no value. Give {name}=...{instead}.")
        value = given[name]
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise PromptError(
                f"{whose} was given {type(value).__name__}. Give text or a number; json.dumps(...) "
                "writes others."
            )
        return str(value)


class Registry:
    """Finds prompts; remembers each for a moment. Thread-safe. `clock`: monotonic seconds."""

    def __init__(self, files: PromptFiles, store: PromptStore, clock: Callable[[], float]) -> None:
        self.files, self.store, self._clock = files, store, clock
        self._known: dict[tuple[str, str], tuple[float, PromptVersion]] = {}
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def find(self, name: str, reference: str) -> PromptVersion:
        """Return a version by its own name or an alias, as of FRESH_S ago or later.

        While the store cannot be used, what was known goes on; where nothing was, the files decide.
        Raises UnknownPromptError; PromptError for a file that is no prompt; StoreError where the
        files have none.
        """
        now, key = self._clock(), (name, reference)
        with self._lock:
            read, known = self._known.get(key, (now, None))
            if known is not None:
                if now - read < FRESH_S:
                    return known
                # One looks; the others go on with what is known.
                self._known[key] = (now, known)
        try:
            found = self.look(name, reference)
        except StoreError as error:
            found = known or self._in_files(name, reference, error)
            self._warn(error, found)
        except PromptError:
            with self._lock:
                self._known.pop(key, None)
            raise
        with self._lock:
            self._known[key] = (now, found)
        return found

    def look(self, name: str, reference: str) -> PromptVersion:
        """Return a version as it is now. Raises as `find` does, and StoreError."""
        check_name(name, "a prompt")
        check_name(reference, "a version or alias")
        pointer = self.aliases(name).get(reference)
        version = reference if pointer is None else pointer.version
        published = self.store.text(name, version)
        if published is not None:
            return PromptVersion(name, version, published, "store")
        written = self.files.text(name, version)
        if written is None:
            raise UnknownPromptError(self._unknown(name, reference, pointer))
        return PromptVersion(name, version, written, "file")

    def names(self) -> Sequence[str]:
        """Return all prompts, sorted. Raises StoreError."""
        return sorted({*self.files.names(), *self.store.names()})

    def versions(self, name: str) -> Sequence[str]:
        """Return a prompt's versions, in order. Raises StoreError."""
        return in_order(list({*self.files.versions(name), *self.store.versions(name)}))

    def aliases(self, name: str) -> Mapping[str, Pointer]:
        """Return what a prompt's aliases stand for. Raises StoreError, PromptError."""
        files, store = self.files.aliases(name), self.store.aliases(name)
        found = {alias: Pointer(version, "file") for alias, version in files.items()}
        return found | {alias: Pointer(version, "store") for alias, version in store.items()}

    def publish(
        self, name: str, version: str, *, at: float, who: str
    ) -> tuple[PromptVersion, bool]:
        """Keep what a file says in the store. Return it, and False if it was kept before.

        Raises UnknownPromptError without the file, PromptError where the store has the version with
        another content, or an alias of its name; StoreError. `at`: Unix seconds.
        """
        check_name(name, "a prompt")
        check_name(version, "a version")
        text = self.files.text(name, version)
        if text is None:
            known = self.files.versions(name)
            raise UnknownPromptError(
                f"There is no {self.files.path(name, version)}. Versions beside it: "
                f"{', '.join(known) or 'none'}. Write it, and publish it then."
            )
        if version in self.aliases(name):
            raise PromptError(
                f"{version!r} is an alias of prompt {name!r}. Give the version another name."
            )
        found = PromptVersion(name, version, text, "file")
        return found, self.store.publish(name, version, text, at=at, who=who)

    def move(
        self, name: str, alias: str, reference: str | None, *, at: float, who: str, why: str = ""
    ) -> None:
        """Let an alias stand for a version, or for that of another alias, in the store.

        A version that only a file has is published first, so that every process has it. None: the
        files decide again. Raises as `look` and `publish` do.
        """
        check_name(name, "a prompt")
        check_name(alias, "an alias")
        if alias in self.versions(name):
            raise PromptError(f"{alias!r} is a version of prompt {name!r}. Move another alias.")
        version = None
        if reference is not None:
            found = self.look(name, reference)
            version = found.version
            if found.origin == "file":
                self.publish(name, version, at=at, who=who)
        self.store.move(name, Move(alias, version, at, who, why))

    def close(self) -> None:
        """Close the store; the next look opens it again."""
        self.store.close()

    def _in_files(self, name: str, reference: str, error: StoreError) -> PromptVersion:
        version = self.files.aliases(name).get(reference, reference)
        text = self.files.text(name, version)
        if text is None:
            raise error
        return PromptVersion(name, version, text, "file")

    def _warn(self, error: StoreError, found: PromptVersion) -> None:
        said = f"{error} Prompt {found.name} stays at {found.version} ({found.text.hash[:12]})."
        with self._lock:
            is_new = said not in self._told
            self._told.add(said)
        if is_new:
            _LOG.warning(said)

    def _unknown(self, name: str, reference: str, pointer: Pointer | None) -> str:
        versions, aliases = self.versions(name), self.aliases(name)
        if not versions:
            path = self.files.path(name, "v1")
            return f"No prompt {name!r}.{nearest(name, self.names())} Write {path}."
        known = f"Versions: {', '.join(versions)}; aliases: {', '.join(aliases) or 'none'}"
        if pointer is not None:
            where = "the store" if pointer.origin == "store" else f"{name}/{ALIASES}"
            return (
                f"The alias {reference!r} of prompt {name!r} stands for {pointer.version!r} in "
                f"{where}, and there is no such version. {known}. Move the alias: "
                f"`tierflow prompt alias {name} {reference} VERSION`."
            )
        if _VERSION.fullmatch(reference):
            meant = nearest(reference, (*versions, *aliases))
            return (
                f"Prompt {name!r} has no version {reference!r}. {known}.{meant} Name one of them, "
                f"or write {self.files.path(name, reference)}."
            )
        return (
            f"Prompt {name!r} has no version or alias {reference!r}. {known}."
            f"{nearest(reference, (*versions, *aliases))} Add {self.files.path(name, reference)}, "
            f"or for an alias write it into {name}/{ALIASES} or run "
            f"`tierflow prompt alias {name} {reference} VERSION`."
        )


def nearest(word: str, known: Sequence[str]) -> str:
    """Return a question after the known word that is meant, nothing where none is near."""
    found = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {found[0]!r:.60}?" if found else ""
