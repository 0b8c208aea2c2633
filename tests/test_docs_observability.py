"""docs/observability.md: its tables are the code's, and its settings load."""

import re
import tomllib

import pytest

from tests.docs import PAGE, metrics_shown, queries_shown, rows
from tests.tracing.conformance import BUCKETS
from tierflow.settings import Settings
from tierflow.tracing import names

TEXT = PAGE.read_text(encoding="utf-8")
SETTINGS = re.findall(r"^```toml\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
OURS = ("tierflow.", "prefect.", "session.", "langfuse.", "mlflow.", "openinference.")


def short(label: str) -> str:
    return label.removeprefix("tierflow.").removeprefix("gen_ai.")


def test_every_metric_is_there_as_it_is() -> None:
    shown = {row[0].strip("`"): row[1:] for row in rows("Metrics")}
    assert shown.keys() == {each.name for each in names.METRICS} | BUCKETS.keys()
    for each in names.METRICS:
        by = ", ".join(map(short, each.labels))
        assert shown[each.name] == [each.unit, f"`{in_prometheus(each)}`", by, each.says]


def in_prometheus(metric: names.Metric) -> str:
    name = metric.name.replace(".", "_") + ("_seconds" if metric.unit == "s" else "")
    return name if metric.buckets is not None else f"{name}_total"


def test_every_attribute_of_ours_is_there() -> None:
    shown = [
        name
        for row in rows("Attributes of tierflow on spans")
        for name in re.findall(r"`([^`]+)`", row[0])
    ]
    metrics = {each.name for each in names.METRICS} - {names.ITL_MEAN, names.ITL_P95}
    ours = {
        value
        for constant, value in vars(names).items()
        if constant.isupper() and isinstance(value, str) and value.startswith(OURS)
    }
    assert sorted(shown) == sorted(ours - metrics | {names.TOKENS_PER_SECOND})


@pytest.mark.parametrize("text", SETTINGS)
def test_its_settings_load(text: str) -> None:
    given = tomllib.loads(text)
    loaded = Settings.model_validate(given)
    assert set(given["telemetry"]["dialects"]) == loaded.telemetry.dialects
    assert loaded.evaluations.sinks.keys() == loaded.telemetry.dialects


def test_its_queries_ask_for_metrics_that_are_there() -> None:
    asked = {
        re.sub(r"_(bucket|sum|count)$", "", name) if name not in metrics_shown() else name
        for query in queries_shown()
        for name in re.findall(r"\b((?:tierflow|gen_ai)_\w+)(?=[\[{])", query)
    }
    assert asked
    assert asked <= metrics_shown().keys()


def test_it_fits_in_two_hundred_lines() -> None:
    assert len(TEXT.splitlines()) <= 200
