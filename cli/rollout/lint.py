"""`tierflow rollout lint`. Reads tierflow.toml and Python files; imports none of them."""

import json
import sys
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click
from pydantic import ValidationError

from ...errors import ConfigError
from ...linting import RolloutFound, Unknown, read_rollouts
from ...plural import plural
from ...rollouts import Variant
from ...rollouts.checking import (
    changes_nothing,
    differing,
    evaluations,
    rate_needed,
    too_short,
)
from ...rollouts.configured import ConfiguredRollout, configured_one
from ...rollouts.terms import Terms
from ...settings import CONFIG_NAME, Settings, settings
from ..lint import python_files
from .prompts import missing_prompts, prompts_of

RULES = {
    "TR001": "It cannot be read, or makes no sense.",
    "TR002": "The candidate changes nothing.",
    "TR003": "A tier that the catalogue lacks.",
    "TR004": "A step that pauses before it can be over.",
    "TR005": "A quality metric that no evaluate= of its steps yields.",
    "TR006": "The same name with other terms elsewhere.",
    "TR007": "A prompt that the registry lacks.",
    "TR008": "A step that none of the files has.",
}
"""The rules, each in one line."""

_EPILOG = "\n\n".join(
    (
        "Rules:",
        *(f"{rule}  {title}" for rule, title in RULES.items()),
        "Exit codes: 0 nothing found, 1 findings, 2 not understood (or wrong settings).",
    )
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found, and where: a file with line and column, or tierflow.toml."""

    rule: str
    where: str
    rollout: str
    message: str


@dataclass(slots=True)
class _Linted:
    """What is said of all rollouts. `terms`: where each was met, and with which terms."""

    findings: list[Finding] = field(default_factory=list[Finding])
    notes: list[str] = field(default_factory=list[str])
    terms: dict[str, list[tuple[str, Terms]]] = field(
        default_factory=dict[str, list[tuple[str, Terms]]]
    )

    def met(self, name: str, where: str, terms: Terms) -> None:
        """Take in a rollout; say so if it was met with other terms before."""
        for other, before in self.terms.setdefault(name, []):
            if unlike := differing(before, terms):
                said = f"has other terms than in {other}: {', '.join(unlike)}. Keep one of them."
                self.findings.append(Finding("TR006", where, name, said))
                break
        self.terms[name].append((where, terms))


@click.command("lint", epilog=_EPILOG)
@click.argument(
    "paths", nargs=-1, metavar="[PATH...]", type=click.Path(exists=True, path_type=Path)
)
@click.option(
    "--units-per-day",
    type=click.FloatRange(min=0, min_open=True),
    help="Of both arms: finds steps that pause before they have seen enough.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def lint(*, paths: Sequence[Path], units_per_day: float | None, as_json: bool) -> None:
    """Check rollouts of tierflow.toml and in Python files, none of which it runs.

    \b
    tierflow rollout lint flows/
    tierflow rollout lint flows/ --units-per-day 2000

    What is no literal is said to be unknown, not guessed.
    """  # noqa: D301  # \b is click's mark for lines that it leaves alone
    try:
        current = settings()
    except ConfigError as exc:
        raise click.UsageError(str(exc)) from exc
    linted = _Linted()
    steps = list(_read(paths, linted))
    for name in current.rollouts:
        _configured(name, current, steps, linted, units_per_day)
    _coded(steps, current, linted, units_per_day)
    if as_json:
        found = [asdict(each) for each in linted.findings]
        click.echo(json.dumps({"findings": found, "notes": linted.notes}, indent=2))
    else:
        for each in linted.findings:
            click.echo(f"{each.where}: {each.rule} {each.rollout} {each.message}")
        for note in linted.notes:
            click.echo(f"Note: {note}")
        click.echo(
            f"{plural(len(linted.terms), 'rollout')}, {plural(len(linted.findings), 'finding')}."
        )
    if linted.findings:
        sys.exit(1)


def _read(paths: Sequence[Path], linted: _Linted) -> Iterator[tuple[Path, RolloutFound]]:
    for path in python_files(paths):
        try:
            with tokenize.open(path) as file:
                found = read_rollouts(file.read())
        except (OSError, SyntaxError, UnicodeDecodeError) as exc:
            said = f"cannot be read: {getattr(exc, 'msg', None) or exc}. Correct the file."
            linted.findings.append(Finding("TR001", str(path), "", said))
            continue
        yield from ((path, each) for each in found)


def _configured(
    name: str,
    current: Settings,
    steps: Sequence[tuple[Path, RolloutFound]],
    linted: _Linted,
    units_per_day: float | None,
) -> None:
    def say(rule: str, message: str) -> None:
        linted.findings.append(Finding(rule, CONFIG_NAME, name, message))

    try:
        found = configured_one(name, current)
    except ConfigError as exc:
        say("TR003" if "No tier" in str(exc) else "TR001", f"is wrong: {exc}")
        return
    linted.met(name, CONFIG_NAME, found.terms)
    of_steps = {each.step: each for _, each in steps if isinstance(each.step, str)}
    if _is_idle(found, of_steps):
        say("TR002", "has a candidate that changes nothing. Say what it changes, or remove it.")
    for said in too_short(found.terms, units_per_day):
        say("TR004", f"is too short: {said}.")
    _rate(name, found.terms, linted, units_per_day)
    known = [of_steps[each] for each in found.steps if each in of_steps]
    variants = [*found.candidate.values(), *found.baseline.values()]
    for said in missing_prompts(prompts_of(variants), current):
        say("TR007", f"has no such prompt. {said}")
    if lost := [each for each in found.steps if each not in of_steps and steps]:
        names = ", ".join(map(repr, lost))
        say("TR008", f"names the step {names}, and these files have none. Name it as they do.")
    elif known and (unseen := _unseen(found.terms, known)):
        say("TR005", _no_evaluation(unseen))


def _is_idle(found: ConfiguredRollout, of_steps: Mapping[str, RolloutFound]) -> bool:
    def tier(step: str) -> str | None:
        told = of_steps[step].tier if step in of_steps else None
        return told if isinstance(told, str) else None

    return all(
        changes_nothing(
            found.candidate.get(step, Variant()), found.baseline.get(step, Variant()), tier(step)
        )
        for step in found.steps
    )


def _coded(
    steps: Sequence[tuple[Path, RolloutFound]],
    current: Settings,
    linted: _Linted,
    units_per_day: float | None,
) -> None:
    chains = dict[str, list[RolloutFound]]()
    read = dict[str, tuple[str, Terms]]()
    for path, each in steps:
        where = f"{path}:{each.place.line}:{each.place.column}"
        if isinstance(each.name, Unknown) or isinstance(each.terms, Unknown):
            source = each.name if isinstance(each.name, Unknown) else each.terms
            linted.notes.append(f"{where}: a rollout is unknown here ({_source(source)}).")
            continue
        if each.name is None:
            continue
        terms = _terms(each.name, each, where, linted)
        if terms is None:
            continue
        linted.met(each.name, where, terms)
        _tiers(each.name, each, where, current, linted)
        _prompts(each.name, each, where, current, linted)
        chains.setdefault(each.name, []).append(each)
        read.setdefault(each.name, (where, terms))
    for name, chain in chains.items():
        where, terms = read[name]
        if all(map(_changes_nothing, chain)):
            said = "has a candidate that changes nothing. Say what it changes, or remove it."
            linted.findings.append(Finding("TR002", where, name, said))
        for said in too_short(terms, units_per_day):
            linted.findings.append(Finding("TR004", where, name, f"is too short: {said}."))
        if name not in current.rollouts:
            _rate(name, terms, linted, units_per_day)
        if unseen := _unseen(terms, chain):
            linted.findings.append(Finding("TR005", where, name, _no_evaluation(unseen)))


def _source(told: object) -> str:
    return told.source if isinstance(told, Unknown) else ""


def _terms(name: str, found: RolloutFound, where: str, linted: _Linted) -> Terms | None:
    try:
        terms = Terms.model_validate(found.terms)
        # Terms know their kinds only; a rollout also knows what makes sense together.
        terms.rollout(name)
    except ValidationError as exc:
        first = exc.errors()[0]
        said = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except ValueError as exc:
        said = str(exc)
    else:
        return terms
    linted.findings.append(Finding("TR001", where, name, f"is wrong: {said.rstrip('.')}."))
    return None


def _tiers(name: str, found: RolloutFound, where: str, current: Settings, linted: _Linted) -> None:
    known = [tier for tier, _ in current.tiers.items()]
    for arm, change in found.arms.items():
        tier = change.get("tier") if isinstance(change, Mapping) else None
        if isinstance(tier, str) and tier not in known:
            said = f"names the tier {tier!r} in its {arm}. Known: {', '.join(known)}."
            linted.findings.append(Finding("TR003", where, name, said))


def _prompts(
    name: str, found: RolloutFound, where: str, current: Settings, linted: _Linted
) -> None:
    told = (
        change.get("prompt_name") for change in found.arms.values() if isinstance(change, Mapping)
    )
    for said in missing_prompts((each for each in told if isinstance(each, str)), current):
        linted.findings.append(Finding("TR007", where, name, f"has no such prompt. {said}"))


def _changes_nothing(found: RolloutFound) -> bool:
    candidate, baseline = found.arms.get("candidate"), found.arms.get("baseline")
    if isinstance(candidate, Unknown) or isinstance(baseline, Unknown):
        return False
    ours, theirs = dict(candidate or {}), dict(baseline or {})
    for each in (ours, theirs):
        if isinstance(found.tier, str) and each.get("tier") == found.tier:
            del each["tier"]
    return ours == theirs


def _unseen(terms: Terms, steps: Sequence[RolloutFound]) -> frozenset[str]:
    """Return the evaluations that no step yields, as far as that can be seen."""
    seen = set[str]()
    for each in steps:
        if isinstance(each.evaluations, Unknown):
            return frozenset()
        seen |= each.evaluations
    return evaluations(terms) - seen


def _no_evaluation(unseen: frozenset[str]) -> str:
    names = ", ".join(map(repr, sorted(unseen)))
    return (
        f"needs the evaluation {names}, and no evaluate= of its steps yields it: nothing would be "
        f"proven. Add judged({min(unseen)!r}, ...), or take the metric out."
    )


def _rate(name: str, terms: Terms, linted: _Linted, units_per_day: float | None) -> None:
    if units_per_day is None:
        rate, step = rate_needed(terms)
        linted.notes.append(
            f"{name}: below {rate:,.0f} a day the step {step} pauses before it has seen enough."
        )
