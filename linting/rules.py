"""What `tierflow lint` says of steps. Decides only: the files are read elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from ..errors import PolicyError
from ..policy import PREMIUM, Policy
from ..settings import Deployment, Settings, Tier
from .found import Kept, Place, Rule, SourceRead, StepFound, Suppression, Told
from .scope import Unknown

RULES = {
    "TF000": "The file is no Python that can be read.",
    "TF001": "A premium tier answers first, and no reason=... says why.",
    "TF002": "A cascade whose judge is not proven, or a route that was not learned.",
    "TF003": "A temperature that defeats the cache: sampled answers are not kept.",
    "TF004": "[policy] forbids a tier, or all of its providers or regions.",
    "TF005": "A simple task on a premium tier: its result is one of a few values.",
    "TF006": "A tier that the catalogue lacks.",
}
"""The rules, each with its reason in one line."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known besides the file.

    `temperature`: at which a deployment of a tier samples when the step asks for none.
    `calibrated`: when a gate (STEP@TIER) was last calibrated, `learned`: when a step's route was
    last learned, seconds since 1970; None where the store cannot be asked.
    """

    settings: Settings
    temperature: Callable[[Deployment, Tier], float | None]
    calibrated: Callable[[str], float | None] | None
    learned: Callable[[str], float | None] | None
    now: float
    max_age_s: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found. `why`: of the comment that suppresses it, None if nothing does."""

    rule: str
    place: Place
    step: str
    message: str
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """What could not be checked, by which rules; or a comment that suppresses nothing."""

    place: Place
    message: str
    rules: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Unsaid:
    rule: str
    option: str
    source: str


@dataclass(frozen=True, slots=True)
class Linted:
    """What is said of one file."""

    findings: Sequence[Finding]
    suppressed: Sequence[Finding]
    notes: Sequence[Note]


_Said: TypeAlias = Iterator[Finding | _Unsaid]


def lint_source(source: SourceRead, known: Known) -> Linted:
    """Return what the rules say of a file's steps."""
    findings, suppressed, notes = list[Finding](), list[Finding](), list[Note]()
    used = set[Suppression]()
    for step in source.steps:
        said = _said(step, known)
        before = {(each.rule, each.message) for each in _findings(step.base, known)}
        for each in said:
            if isinstance(each, Finding) and (each.rule, each.message) not in before:
                comment = _comment(each, step, source.suppressions)
                judged = _suppressed(each, comment)
                (findings if judged.why is None else suppressed).append(judged)
                used.update([comment] if comment else ())
        notes += _notes(step, [each for each in said if isinstance(each, _Unsaid)])
    idle = (each for each in source.suppressions if each not in used)
    notes += (Note(Place(each.line, 1), "This ignore suppresses nothing.") for each in idle)
    return Linted(findings, suppressed, notes)


def _said(step: StepFound, known: Known) -> list[Finding | _Unsaid]:
    rules = (_premium, _unproven, _unlearned, _uncached, _forbidden, _simple, _missing)
    return [each for rule in rules for each in rule(step, known)]


def _findings(step: StepFound | None, known: Known) -> list[Finding]:
    return [each for each in _said(step, known) if isinstance(each, Finding)] if step else []


def _comment(
    finding: Finding, step: StepFound, comments: Sequence[Suppression]
) -> Suppression | None:
    first, last = step.lines
    meant = (each for each in comments if first <= each.line <= last and finding.rule in each.rules)
    # One that says why goes before one that does not.
    return min(meant, key=lambda each: not each.why, default=None)


def _suppressed(finding: Finding, comment: Suppression | None) -> Finding:
    if comment is None:
        return finding
    if not comment.why:
        silent = f"The ignore in line {comment.line} says no why, so it does not count."
        return replace(finding, message=f"{finding.message} {silent}")
    return replace(finding, why=comment.why)


def _notes(step: StepFound, unsaid: Sequence[_Unsaid]) -> Iterator[Note]:
    by_source = dict[str, list[_Unsaid]]()
    for each in unsaid:
        if step.base is None or each.option in step.at:
            by_source.setdefault(each.source, []).append(each)
    for source, several in by_source.items():
        options = ", ".join(dict.fromkeys(each.option for each in several))
        rules = tuple(dict.fromkeys(each.rule for each in several))
        yield Note(
            step.where(several[0].option),
            f"{_name(step)}: {options} unknown here ({source}), so not checked for "
            f"{', '.join(rules)}.",
            rules,
        )


def _name(step: StepFound) -> str:
    return f"Step {step.name!r}" if isinstance(step.name, str) else "A step"


def _finding(rule: str, step: StepFound, option: str, message: str) -> Finding:
    name = step.name if isinstance(step.name, str) else ""
    return Finding(rule, step.where(option), name, f"{_name(step)} {message}")


def _first_tiers(step: StepFound) -> Iterator[tuple[str, Told[str]]]:
    yield "tier", step.tier
    if step.candidate is not None:
        yield "rollout", step.candidate


def _every_tier(step: StepFound) -> Iterator[tuple[str, Told[str]]]:
    yield from _first_tiers(step)
    if isinstance(step.cascade, Rule):
        for names in (step.cascade.to, step.cascade.judges):
            yield from (("cascade", each) for each in _each(names))
    elif isinstance(step.cascade, Unknown):
        yield "cascade", step.cascade
    if step.route is not None:
        yield from (("route", each) for each in _each(step.route))
    if isinstance(step.cache, Unknown):
        yield "cache", step.cache
    elif isinstance(step.cache, Kept) and step.cache.judge is not None:
        yield "cache", step.cache.judge
    yield from (("evaluate", each) for each in _each(step.evaluators))


def _each(names: Told[tuple[Told[str], ...]]) -> Sequence[Told[str]]:
    return (names,) if isinstance(names, Unknown) else names


def _is_premium(tier: str, policy: Policy) -> bool:
    # A specialist that nobody ranked is premium to max_tier, which fails closed, but not here.
    ranked = tier.removeprefix("specialist.") in policy.counts_as
    return tier == PREMIUM or (ranked and policy.rank(tier) == PREMIUM)


def _premium(step: StepFound, known: Known) -> _Said:
    for option, tier in _first_tiers(step):
        if isinstance(tier, Unknown):
            yield _Unsaid("TF001", option, tier.source)
        elif not _is_premium(tier, known.settings.policy):
            continue
        elif isinstance(step.reason, Unknown):
            yield _Unsaid("TF001", "reason", step.reason.source)
        elif not (step.reason or "").strip():
            message = (
                f"begins at the premium tier {tier!r} and says no reason. Begin at a cheaper tier "
                'with a cascade, or write reason="..." in @llm_task.'
            )
            yield _finding("TF001", step, option, message)


def _unproven(step: StepFound, known: Known) -> _Said:
    rule = step.cascade
    if isinstance(rule, Unknown):
        yield _Unsaid("TF002", "cascade", rule.source)
    elif rule is not None and isinstance(rule.max_loss, Unknown):
        yield _Unsaid("TF002", "cascade", rule.max_loss.source)
    elif rule is not None and rule.max_loss is None:
        message = (
            "has a cascade without proof: max_loss=None keeps cheap answers that nobody has shown "
            "to be good enough. Write max_loss=0.01 and run `tierflow judge calibrate`."
        )
        yield _finding("TF002", step, "cascade", message)
    elif rule is not None and known.calibrated is not None:
        yield from _uncalibrated(step, rule, known, known.calibrated)


def _uncalibrated(
    step: StepFound, rule: Rule, known: Known, calibrated: Callable[[str], float | None]
) -> _Said:
    for part, value in (("its name", step.name), ("tier", step.tier), ("cascade", rule.to)):
        if isinstance(value, Unknown):
            yield _Unsaid("TF002", part, value.source)
            return
    for tier in (step.tier, *_each(rule.to)[:-1]):
        gate = f"{step.name}@{tier}"
        if held := _too_little(calibrated(gate), known, "no calibration"):
            message = (
                f"has a cascade, and the store holds {held} for {gate}: the strongest tier answers "
                "everything. Run `tierflow judge calibrate`, or drop the cascade."
            )
            yield _finding("TF002", step, "cascade", message)


def _too_little(at: float | None, known: Known, nothing: str) -> str | None:
    """Say what the store holds where that does not count, None where it does."""
    if at is None:
        return nothing
    age_s = known.now - at
    return None if age_s <= known.max_age_s else f"one of {age_s / 86_400:.0f} days ago"


def _unlearned(step: StepFound, known: Known) -> _Said:
    if isinstance(step.route, Unknown):
        yield _Unsaid("TF002", "route", step.route.source)
    elif step.route is not None and known.learned is not None:
        if isinstance(step.name, Unknown):
            yield _Unsaid("TF002", "its name", step.name.source)
        elif held := _too_little(known.learned(step.name), known, "nothing learned"):
            message = (
                f"has a route, and the store holds {held} for it: one tier answers everything. Run "
                "`tierflow route learn`, or drop the route."
            )
            yield _finding("TF002", step, "route", message)


def _uncached(step: StepFound, known: Known) -> _Said:
    cache = step.cache
    if cache is None or (isinstance(cache, Kept) and cache.any_temperature is True):
        return
    if isinstance(step.temperature, Unknown):
        yield _Unsaid("TF003", "sampling", step.temperature.source)
        return
    if (found := _sampled(step, known)) is None:
        return
    if isinstance(cache, Unknown):
        yield _Unsaid("TF003", "cache", cache.source)
    elif isinstance(cache.any_temperature, Unknown):
        yield _Unsaid("TF003", "cache", cache.any_temperature.source)
    else:
        message = (
            f"has a cache that keeps nothing: {found}. Set temperature 0, or write cache=None or "
            "ExactCache(any_temperature=True)."
        )
        option = "sampling" if "sampling" in step.at else "tier"
        yield _finding("TF003", step, option, message)


def _sampled(step: StepFound, known: Known) -> str | None:
    """Say what is sampled at another temperature than 0, None if nothing is known to be."""
    if step.temperature is not None:
        own = step.temperature
        return None if own == 0 else f"it is sampled at temperature {own}"
    rule = step.cascade
    stronger = _each(rule.to) if isinstance(rule, Rule) else _each(step.route or ())
    tiers = dict(known.settings.tiers.items())
    for name in (step.tier, *stronger):
        tier = tiers.get(name) if isinstance(name, str) else None
        for deployment in tier.deployments if tier else ():
            given = known.temperature(deployment, tier) if tier else 0
            if given != 0:
                at = "the provider's own temperature" if given is None else f"temperature {given}"
                return f"tier {name!r} samples {deployment.name} at {at} (tierflow.toml)"
    return None


def _forbidden(step: StepFound, known: Known) -> _Said:
    policy = known.settings.policy
    if policy == Policy(simple_values=policy.simple_values):
        return
    if isinstance(step.tags, Unknown):
        yield _Unsaid("TF004", "tags", step.tags.source)
        return
    rules, tiers = policy.rules(step.tags), dict(known.settings.tiers.items())
    for option, tier in _every_tier(step):
        if isinstance(tier, Unknown):
            yield _Unsaid("TF004", option, tier.source)
        elif tier in tiers:
            try:
                rules.allowed(tier, tiers[tier].deployments)
            except PolicyError as exc:
                yield _finding("TF004", step, option, f"breaks the policy. {exc}")


def _simple(step: StepFound, known: Known) -> _Said:
    policy = known.settings.policy
    for option, tier in _first_tiers(step):
        if isinstance(tier, Unknown):
            yield _Unsaid("TF005", option, tier.source)
        elif not _is_premium(tier, policy):
            continue
        elif isinstance(step.choices, Unknown):
            yield _Unsaid("TF005", "returns", step.choices.source)
        elif step.choices is not None and step.choices <= policy.simple_values:
            message = (
                f"is simple, with {step.choices} possible results, and begins at the premium tier "
                f'{tier!r}. Begin at "fast", with a cascade where that is not enough.'
            )
            yield _finding("TF005", step, option, message)


def _missing(step: StepFound, known: Known) -> _Said:
    names = [name for name, _ in known.settings.tiers.items()]
    for option, tier in _every_tier(step):
        if isinstance(tier, Unknown):
            yield _Unsaid("TF006", option, tier.source)
        elif tier not in names:
            message = (
                f"names the tier {tier!r}, which the catalogue lacks. Known: {', '.join(names)}. "
                "Use one of them, or add [tiers.specialist.<domain>] to tierflow.toml."
            )
            yield _finding("TF006", step, option, message)
