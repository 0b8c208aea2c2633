"""Policy: what `[policy]` forbids a step is not asked, and what is left of nothing is an error."""

import ast
import tomllib
from pathlib import Path
from typing import Any

import prefect
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.tasks.ways import Way, both_ways, plain
from tests.tasks.world import World, a_spec, in_a_flow
from tierflow import Cascade, Rollout, SemanticCache, Variant, agreement, confidence, llm_task
from tierflow.errors import ConfigError, MissingKeyError, PolicyError
from tierflow.policy import RANKS, Policy, Rank
from tierflow.routing import Ask
from tierflow.settings import Deployment, Settings, settings
from tierflow.tasks.plan import step_plan
from tierflow.tasks.ruled import with_run_tags
from tierflow.tasks.spec import Surroundings

TWO_PLACES = """
[tiers.fast]
deployments = [
  { model = "anthropic/far", region = "us-east", api_base = "http://127.0.0.1:1/v1" },
  { model = "openai/near", region = "eu-west", api_base = "http://127.0.0.1:1/v1" },
  { model = "local/zero-shot" },
]
"""


def with_policy(around: Surroundings, text: str) -> Surroundings:
    """The surroundings where the project's file holds this text."""
    found = Settings(**tomllib.loads(text))
    return Surroundings(found, around.environ, around.where, around.clock, now=around.now)


def asked(around: Surroundings, **options: Any) -> list[str]:
    """The models that a step asks."""
    world = World()
    world.play(step_plan(a_spec(**options), around))
    return [each.deployment.model for each in world.of(Ask)]


def refused(around: Surroundings, **options: Any) -> str:
    """What a step says that asks nobody: nothing happens before, not even its prompt."""
    world = World()
    with pytest.raises(PolicyError) as raised:
        world.play(step_plan(a_spec(**options), around))
    assert world.seen == []
    return str(raised.value)


# --- the highest tier


CAPPED = '[policy.max_tier]\ninternal = "standard"\ndraft = "fast"'
INTERNAL = frozenset({"internal"})


def test_a_tier_above_the_tags_limit_is_refused_with_fact_value_and_remedy(
    around: Surroundings,
) -> None:
    said = refused(with_policy(around, CAPPED), tier="frontier", tags=INTERNAL)
    for part in ("'frontier'", "'standard'", "[policy.max_tier]", "'internal'", "tierflow.toml"):
        assert part in said


def test_up_to_the_limit_and_without_the_tag_all_is_as_before(around: Surroundings) -> None:
    capped = with_policy(around, CAPPED)
    assert asked(capped, tier="standard", tags=INTERNAL) == asked(around, tier="standard")
    assert asked(capped, tier="frontier", tags=frozenset({"other"}))


def test_of_several_tags_the_lowest_limit_holds(around: Surroundings) -> None:
    tags = frozenset({"internal", "draft"})
    assert "'draft'" in refused(with_policy(around, CAPPED), tier="standard", tags=tags)


@pytest.mark.parametrize(
    "options",
    [
        {"cascade": Cascade("frontier", confidence(), max_loss=None)},
        {"cascade": Cascade("frontier", confidence())},
        {"cascade": Cascade(("standard", "frontier"), confidence(), max_loss=None)},
        {"cascade": Cascade("standard", agreement("frontier"), max_loss=None)},
        {"cache": SemanticCache(judge="frontier")},
        {"rollout": Rollout("new", Variant(tier="frontier"))},
        {"rollout": Rollout("new", Variant(tier="fast")), "tier": "frontier"},
        {"rollout": Rollout("new", Variant(), Variant(tier="frontier"))},
    ],
    ids=[
        "cascade",
        "cascade with proof",
        "longer cascade",
        "judge",
        "judge of the cache",
        "candidate",
        "baseline of a candidate",
        "baseline",
    ],
)
def test_whatever_a_step_might_ask_is_held_to_the_limit(
    around: Surroundings, options: dict[str, Any]
) -> None:
    capped = in_a_flow(with_policy(around, CAPPED))
    assert "frontier" in refused(capped, tags=INTERNAL, **options)


def test_steps_without_a_named_tag_have_a_limit_of_their_own(around: Surroundings) -> None:
    text = '[policy]\ndefault_max_tier = "fast"\nmax_tier = { premium = "frontier" }'
    capped = with_policy(around, text)
    assert "default_max_tier" in refused(capped, tier="standard")
    # A tag that is mistyped falls back to it.
    assert "default_max_tier" in refused(capped, tier="frontier", tags=frozenset({"premum"}))
    assert asked(capped, tier="frontier", tags=frozenset({"premium"}))


LEGAL = """
[tiers.specialist.legal]
deployments = [{ model = "anthropic/law" }]
"""


def test_a_specialist_counts_as_frontier_unless_it_is_ranked(around: Surroundings) -> None:
    said = refused(with_policy(around, LEGAL + CAPPED), tier="specialist.legal", tags=INTERNAL)
    assert "counts as frontier" in said
    ranked = with_policy(around, f'{LEGAL}{CAPPED}\n[policy.counts_as]\nlegal = "standard"')
    assert asked(ranked, tier="specialist.legal", tags=INTERNAL) == ["anthropic/law"]


@given(
    st.dictionaries(st.sampled_from("abc"), st.sampled_from(RANKS)),
    st.none() | st.sampled_from(RANKS),
    st.frozensets(st.sampled_from("abcd")),
    st.sampled_from("abc"),
)
def test_one_more_tag_of_the_policy_never_allows_more(
    max_tier: dict[str, Rank], default: Rank | None, tags: frozenset[str], more: str
) -> None:
    policy = Policy(max_tier=max_tier, default_max_tier=default)
    deployments = (Deployment(model="local/a"),)

    def allowed(tags: frozenset[str]) -> set[str]:
        found = set[str]()
        for tier in RANKS:
            try:
                policy.rules(tags).allowed(tier, deployments)
            except PolicyError:
                continue
            found.add(tier)
        return found

    named = tags & max_tier.keys()
    if named or default is None:
        assert allowed(tags | {more}) <= allowed(tags)
    # Lower tiers are never forbidden where a higher one is allowed.
    assert [tier in allowed(tags) for tier in RANKS] == sorted(
        (tier in allowed(tags) for tier in RANKS), reverse=True
    )


# --- providers and regions


@pytest.mark.parametrize(
    ("policy", "models"),
    [
        ('providers = ["openai", "local"]', ["openai/near", "local/zero-shot"]),
        ('regions = ["eu-west"]', ["openai/near"]),
        ('regions = ["us-east", "eu-west"]', ["anthropic/far", "openai/near"]),
        ('providers = ["local"]', ["local/zero-shot"]),
    ],
)
def test_only_deployments_of_the_lists_are_asked(
    around: Surroundings, policy: str, models: list[str]
) -> None:
    from tierflow.routing import resolve

    ruled = with_policy(around, f"{TWO_PLACES}[policy]\n{policy}")
    rules = ruled.settings.policy.rules(())
    tier = resolve(ruled.settings.tiers, "fast", {}, rules)
    assert [each.model for each in tier.tier.deployments] == models
    assert asked(ruled) == models[:1]


def test_where_regions_are_named_a_deployment_without_one_is_not_allowed(
    around: Surroundings,
) -> None:
    said = refused(with_policy(around, '[policy]\nregions = ["eu-west"]'))
    assert "it has no region" in said
    assert "eu-west" in said
    assert "`region`" in said


def test_a_tag_has_lists_of_its_own_beside_the_general_ones(around: Surroundings) -> None:
    text = (
        '[policy]\nproviders = ["anthropic", "openai"]\n[policy.tagged.pii]\nregions = ["eu-west"]'
    )
    ruled = with_policy(around, TWO_PLACES + text)
    assert asked(ruled) == ["anthropic/far"]
    assert asked(ruled, tags=frozenset({"pii"})) == ["openai/near"]
    assert "[policy.tagged.pii]" in refused(ruled, tier="standard", tags=frozenset({"pii"}))


def test_what_is_allowed_and_has_no_key_is_said_to_lack_the_key(around: Surroundings) -> None:
    ruled = with_policy(around, '[policy]\nproviders = ["openai"]')
    with pytest.raises(MissingKeyError, match="OPENAI_API_KEY") as raised:
        World().play(step_plan(a_spec(), ruled))
    assert "ANTHROPIC" not in str(raised.value)


def test_an_answer_of_a_provider_that_is_forbidden_now_is_not_served(around: Surroundings) -> None:
    from tierflow.caching import Find

    def key(around: Surroundings) -> Any:
        world = World()
        world.play(step_plan(a_spec(), around))
        return world.of(Find)[0].key

    before = with_policy(around, TWO_PLACES)
    assert key(before) != key(with_policy(around, f'{TWO_PLACES}[policy]\nproviders = ["openai"]'))


# --- steps as they run


@both_ways
def test_a_step_is_held_to_the_limit_of_its_task_tags(
    way: Way, catalogue: Catalogue, provider: FakeProvider
) -> None:
    path = catalogue()
    path.write_text(f"{path.read_text()}\n{CAPPED}\n")
    step = way.step(plain, tier="frontier", tags=["internal"])
    with pytest.raises(PolicyError):
        step("?")
    with pytest.raises(PolicyError):
        step.batch("?", "!")
    assert not provider.calls
    free = way.step(plain, tier="frontier").task
    assert free.with_options(tags=["internal"]).spec.tags == INTERNAL


def test_the_tags_of_a_block_around_the_call_count_too(
    prefect_server: None, catalogue: Catalogue, provider: FakeProvider
) -> None:
    del prefect_server
    path = catalogue()
    path.write_text(f"{path.read_text()}\n{CAPPED}\n")
    provider.script("frontier", Say("yes"))
    step: Any = llm_task(tier="frontier")(plain)

    @prefect.flow
    def inbox() -> int:
        assert step("?") == "yes"
        with prefect.tags("internal"), pytest.raises(PolicyError):
            step("!")
        return len(provider.calls)

    assert inbox() == 1


def test_a_step_without_further_tags_stays_the_same_object() -> None:
    spec = a_spec(tags=INTERNAL)
    assert with_run_tags(spec, ["internal"]) is spec
    assert with_run_tags(spec, ["late"]).tags == {"internal", "late"}


@both_ways
def test_tags_given_as_one_text_are_refused_because_prefect_takes_the_letters(way: Way) -> None:
    with pytest.raises(TypeError, match="Give a list"):
        way.step(plain, tags="internal")
    with pytest.raises(TypeError, match="Give a list"):
        way.step(plain).task.with_options(tags="internal")


def test_a_blank_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="Say in words"):
        llm_task(tier="frontier", reason=" ")


def test_every_tier_that_a_step_resolves_goes_by_the_rules() -> None:
    """A call of `resolve` without them would be a way around the policy."""
    room = Path(__file__).parents[2] / "tasks"
    calls = [
        node
        for path in room.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "resolve"
    ]
    assert calls
    assert all(len(call.args) == 4 for call in calls)


# --- what is written wrongly


@pytest.mark.parametrize(
    "text",
    [
        '[policy.max_tier]\ninternal = "premium"',
        '[policy.max_tier]\ninternal = "specialist.legal"',
        '[policy.max_tier]\ninternal = ["standard"]',
        '[policy.max_tier]\n"" = "standard"',
        '[policy.max_tier]\n" internal" = "standard"',
        '[policy]\nmax_tier = "standard"',
        '[policy]\ndefault_max_tier = "cheap"',
        '[policy]\nmax_teir = { internal = "fast" }',
        '[policy]\nproviders = "openai"',
        '[policy]\nproviders = ["openai/gpt-6-luna"]',
        "[policy]\nproviders = []",
        "[policy]\nregions = []",
        '[policy]\nregions = [""]',
        '[policy.counts_as]\nlegal = "standard"',
        '[policy.tagged.pii]\nregion = ["eu"]',
        '[policy.tagged]\npii = ["eu"]',
    ],
)
def test_a_policy_that_is_written_wrongly_stops_everything(project: Path, text: str) -> None:
    (project / "tierflow.toml").write_text(text)
    with pytest.raises(ConfigError, match="policy"):
        settings()


def test_a_policy_can_come_from_the_environment(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del project
    monkeypatch.setenv("TIERFLOW_POLICY__MAX_TIER__INTERNAL", "fast")
    monkeypatch.setenv("TIERFLOW_POLICY__PROVIDERS", '["openai"]')
    monkeypatch.setenv("TIERFLOW_POLICY__TAGGED__PII__REGIONS", '["eu"]')
    policy = settings().policy
    assert policy.max_tier == {"internal": "fast"}
    assert (policy.providers, policy.tagged["pii"].regions) == (("openai",), ("eu",))
