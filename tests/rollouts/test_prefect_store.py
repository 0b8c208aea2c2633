"""Rollouts in Prefect's Variables: what is of this backend alone."""

import json
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.context import SyncClientContext
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.fakes import FakeProvider
from tierflow.errors import StoreError
from tierflow.rollouts.prefect_store import KEPT_REVISIONS, PrefectRollouts
from tierflow.rollouts.prefect_variables import Variables
from tierflow.rollouts.state import Epoch, RolloutState

from .stores import NAME, STARTED, a_pair, call, revision


@pytest.fixture
def store(variables: Variables) -> Iterator[PrefectRollouts]:
    opened = PrefectRollouts()
    yield opened
    opened.close()


def states(variables: Variables) -> list[str]:
    return [each.name for each in variables.find("tierflow_rollout__", newest=False)]


def change(name: str, value: Any) -> None:
    """Change a Variable as somebody would in the UI."""
    with get_client(sync_client=True) as client:
        client.request("PATCH", f"/variables/name/{name}", json={"value": value})  # type: ignore[arg-type]


def test_a_state_is_found_by_its_name_in_the_ui(
    store: PrefectRollouts, variables: Variables
) -> None:
    store.put(STARTED)
    (name,) = states(variables)
    assert name.startswith("tierflow_rollout__triage-v2-")
    assert name.endswith("__000000001")
    kept: Any = variables.read(name)
    assert (kept["rollout"], kept["state"]["phase"]) == (NAME, "progressing")


def test_old_revisions_are_deleted(store: PrefectRollouts, variables: Variables) -> None:
    for number in range(1, KEPT_REVISIONS + 4):
        assert store.put(revision(number))
    kept = [each.revision for each in store.history(NAME)]
    assert kept == list(range(4, KEPT_REVISIONS + 4))
    assert len(states(variables)) == KEPT_REVISIONS

    # Its revision is free again, but it was somebody else's once.
    assert not store.put(revision(2, by="long asleep"))
    assert [each.revision for each in store.history(NAME)] == kept


def test_variables_of_others_are_left_alone(store: PrefectRollouts, variables: Variables) -> None:
    store.put(STARTED)
    (name,) = states(variables)
    others = [f"x_{name[:-1]}7", f"a_{name[:-1]}7"]
    for each in others:
        variables.create(each, {"of": "somebody else"})
    try:
        assert store.newest(NAME) == STARTED
        assert store.history(NAME) == [STARTED]
        assert store.names() == [NAME]
    finally:
        for each in others:
            assert variables.read(each) is not None
            variables.delete(each)


class Relay(ThreadingHTTPServer):
    """Passes everything on to a Prefect server, and keeps some replies to itself.

    `lost`: a part of a request that is carried out and not answered, once.
    """

    daemon_threads = True

    def __init__(self, api_url: str, lost: str) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.api_url, self.lost, self.losses = api_url, lost, 0


class _Passing(BaseHTTPRequestHandler):
    def _pass_on(self) -> None:
        relay = self.server
        assert isinstance(relay, Relay)
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = {"Content-Type": self.headers.get("Content-Type") or "application/json"}
        replied = httpx.request(
            self.command, f"{relay.api_url}{self.path}", content=sent, headers=kind, timeout=60
        )
        self.close_connection = True
        if not relay.losses and relay.lost in sent.decode():
            relay.losses += 1
            return
        self.send_response(replied.status_code)
        self.send_header("Content-Length", str(len(replied.content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(replied.content)

    do_GET = do_POST = do_DELETE = _pass_on  # noqa: N815  # http.server's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name there
        """Say nothing."""


@contextmanager
def losing(part: str) -> Generator[Relay]:
    """Put a relay between us and the server."""
    with Relay(str(PREFECT_API_URL.value()), part) as relay:
        serving = threading.Thread(target=relay.serve_forever)
        serving.start()
        url = f"http://127.0.0.1:{relay.server_address[1]}"
        try:
            with temporary_settings({PREFECT_API_URL: url}):
                yield relay
        finally:
            relay.shutdown()
            serving.join()


def test_a_revision_whose_reply_was_lost_is_ours(variables: Variables) -> None:
    with losing("__000000001") as relay:
        store = PrefectRollouts()
        assert store.put(STARTED)
        assert relay.losses == 1
        assert not store.put(revision(1, by="bob"))
        store.close()


def test_observations_whose_reply_was_lost_are_kept_once(variables: Variables) -> None:
    with losing("tierflow_rollout_seen__") as relay:
        store = PrefectRollouts()
        store.observe(NAME, [call("a")])
        assert relay.losses == 1
        assert store.seen(NAME, 0).observations == [call("a")]
        store.close()


class TestSizes:
    """A Variable holds 5,000 characters."""

    def test_observations_are_split(self, store: PrefectRollouts, variables: Variables) -> None:
        # A letter beyond ASCII takes more than one byte.
        many = [call(f"{number:03d}-{'ä' * 100}") for number in range(100)]
        store.observe(NAME, many)
        kept = list(variables.find("tierflow_rollout_seen__", newest=True))
        sizes = [len(json.dumps(each.value, separators=(",", ":"))) for each in kept]
        assert 5 < len(sizes) < 20
        assert store.seen(NAME, 0).observations == many

    def test_a_state_that_is_too_long_is_refused_with_a_remedy(
        self, store: PrefectRollouts
    ) -> None:
        state = long_state(200)
        with pytest.raises(StoreError, match=r"Revision 1 .* bytes.* TIERFLOW_STORE_URL"):
            store.put(state)
        assert store.newest(NAME) is None
        assert store.names() == []

    def test_a_state_of_many_epochs_still_fits(self, store: PrefectRollouts) -> None:
        state = long_state(40)
        assert store.put(state)
        assert store.newest(NAME) == state

    def test_an_observation_that_is_too_long_is_refused(self, store: PrefectRollouts) -> None:
        with pytest.raises(StoreError, match=r"observed of rollout 'triage-v2' has") as caught:
            store.observe(NAME, [call("secret" * 1000)])
        assert "secret" not in str(caught.value)


def long_state(epochs: int) -> RolloutState:
    each = [
        Epoch(number=number, weight=0.123456789, step=1, since=1_800_000_000.123 + number)
        for number in range(epochs)
    ]
    return STARTED.model_copy(update={"epochs": tuple(each)})


@pytest.mark.parametrize("damage", ["no dict", {}, {"state": {"version": 9, "by": "secret"}}, None])
def test_a_damaged_state_is_an_error_that_names_the_variable(
    store: PrefectRollouts, variables: Variables, damage: Any
) -> None:
    store.put(STARTED)
    store.put(revision(2))
    name = states(variables)[-1]
    change(name, damage)
    with pytest.raises(StoreError, match=f"Variable {name} cannot be read.*Delete it") as caught:
        store.newest(NAME)
    assert "secret" not in str(caught.value)
    variables.delete(name)
    assert store.newest(NAME) == STARTED


@pytest.mark.parametrize("kind", ["seen", "pair", "score"])
@pytest.mark.parametrize(
    "damage", ["secret", {}, {"rows": [["secret"]], "pair": [1], "score": ["secret"]}]
)
def test_damaged_observations_are_an_error_that_names_the_variable(
    store: PrefectRollouts, variables: Variables, kind: str, damage: Any
) -> None:
    store.observe(NAME, [call("a")])
    store.pair(NAME, a_pair("a"))
    store.score(NAME, "a", "helpful", 0.5)
    (kept,) = variables.find(f"tierflow_rollout_{kind}__", newest=True)
    change(kept.name, damage)
    with pytest.raises(StoreError, match=f"Variable {kept.name} cannot be read") as caught:
        store.seen(NAME, 0)
    assert "secret" not in str(caught.value)


class TestServers:
    """What stands at PREFECT_API_URL."""

    @contextmanager
    def at(self, url: str) -> Generator[PrefectRollouts]:
        with temporary_settings({PREFECT_API_URL: url}):
            store = PrefectRollouts()
            try:
                yield store
            finally:
                store.close()

    def test_one_that_is_out_is_an_error_without_the_password(self) -> None:
        with self.at("http://me:hunter2@127.0.0.1:1/api") as store:
            for use in (
                lambda: store.put(STARTED),
                lambda: store.newest(NAME),
                lambda: store.observe(NAME, [call("a")]),
                lambda: store.seen(NAME, 0),
            ):
                with pytest.raises(StoreError, match=r"ConnectError.*PREFECT_API_URL") as caught:
                    use()
                assert "hunter2" not in str(caught.value)
                assert caught.value.__suppress_context__

    def test_one_that_is_none_of_prefects_is_an_error(self, provider: FakeProvider) -> None:
        with (
            self.at(provider.base_url) as store,
            pytest.raises(StoreError, match=r"it answered with HTTP 4\d\d"),
        ):
            store.newest(NAME)

    def test_one_that_comes_back_is_used_again(self, store: PrefectRollouts) -> None:
        with self.at("http://127.0.0.1:1/api") as outside:
            with pytest.raises(StoreError):
                outside.put(STARTED)
            outside.close()
        assert outside.put(STARTED)
        outside.close()
        assert store.newest(NAME) == STARTED


def test_the_store_outlives_the_flow_run_that_opened_it(variables: Variables) -> None:
    store = PrefectRollouts()
    with SyncClientContext.get_or_create():
        assert store.put(STARTED)
    assert store.newest(NAME) == STARTED
    store.close()
