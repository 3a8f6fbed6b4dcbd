"""A challenger beside the champion on real servers over real Kafka and MLflow, ordered by the command."""

import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from typer.testing import CliRunner, Result

from deploy.local import ports
from services.control.app import app
from services.control.history import servers
from services.server.stickiness import is_in_share
from shared.envelope import decode
from shared.events import CanaryCounts, ServedPrediction, ServerPhase, ServerState, ServingRole
from shared.kafka import read_topic
from shared.settings import Settings
from shared.topics import CANARIES_COUNTS, PREDICTIONS_SERVED
from tests.integration.server.stage import PATIENCE_SECONDS, Gate, ServerProcess

REPLICAS = 2
CALLERS = [f"caller-{number}" for number in range(40)]


@pytest.fixture(autouse=True)
def _addresses(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command finds the stream by the environment, as in production."""
    monkeypatch.setenv("TIDEMILL_HOME", str(settings.home))
    monkeypatch.setenv("TIDEMILL_STREAM__PREFIX", settings.stream.prefix)
    monkeypatch.setenv("TIDEMILL_KAFKA__BOOTSTRAP_SERVERS", settings.bootstrap_servers())
    monkeypatch.setenv("TIDEMILL_REGISTRY__TRACKING_URI", settings.tracking_uri())


def tidemill(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=True)


def answered_by(server: ServerProcess) -> dict[str, tuple[str, str]]:
    """Caller -> version and label of its answer."""
    found = {}
    for caller in CALLERS:
        said = server.predict(caller, text="a film").json()
        found[caller] = (said["model"]["version"], said["predictions"][0]["label"])
    return found


def test_a_canary_answers_its_callers_until_it_is_promoted_and_is_then_not_loaded_again(
    server: ServerProcess, gate: Gate, settings: Settings
) -> None:
    champion, challenger = gate.promote(gate.register("positive")), gate.register("negative")
    server.until(version=champion.version, phase="serving")
    result = tidemill("canary", challenger.version, "--share", "50%", "--why", "to see", "--who", "ann")
    assert "answers 50.00% of the callers on 1 of 1 servers" in result.output, result.output
    expected = {
        caller: (challenger.version, "negative")
        if is_in_share(challenger.version, caller, 0.5)
        else (champion.version, "positive")
        for caller in CALLERS
    }
    assert answered_by(server) == answered_by(server) == expected
    assert server.get("/v1/model").json()["canary"]["version"] == challenger.version
    gate.promote(challenger)
    server.until(version=challenger.version, phase="serving")
    assert set(answered_by(server).values()) == {(challenger.version, "negative")}
    assert server.get("/v1/model").json()["canary"] is None
    log = (settings.home / "server.log").read_text()
    assert f"version {challenger.version} is settled: promote by entry 2 of the ledger" in log
    assert log.count("warming") == 2  # the champion's, and once the challenger's
    assert server.terminate() == 0
    records = read_topic(settings, "test", PREDICTIONS_SERVED)
    served = [decode(ServedPrediction, record.value, record.where()) for record in records]
    assert {each.role for each in served if each.version == champion.version} == {ServingRole.CHAMPION}
    assert ServingRole.CANARY in {each.role for each in served if each.version == challenger.version}


def test_a_shadow_is_compared_in_silence_and_what_was_counted_is_published_when_it_is_rejected(
    server: ServerProcess, gate: Gate, settings: Settings
) -> None:
    champion, challenger = gate.promote(gate.register("positive")), gate.register("negative")
    server.until(version=champion.version, phase="serving")
    result = tidemill("canary", challenger.version, "--shadow", "--why", "to see")
    assert result.exit_code == 0, result.output
    assert set(answered_by(server).values()) == {(champion.version, "positive")}
    until(lambda: f'compared_texts_total{{version="{challenger.version}"}}' in server.get("/metrics").text)
    gate.reject(challenger)
    until(lambda: bool(counts(settings)))
    report = counts(settings)[-1]
    assert (report.version, report.champion, report.role) == (
        challenger.version,
        champion.version,
        ServingRole.SHADOW,
    )
    assert report.compared == report.disagreements > 0
    assert report.answers == report.failures == 0
    until(lambda: server.get("/v1/model").json()["canary"] is None)
    refused = tidemill("canary", challenger.version, "--shadow", "--why", "once more")
    assert f"version {challenger.version} was rejected" in str(refused.exception)


def test_a_restarted_server_finds_its_canary_again_and_off_ends_it(server: ServerProcess, gate: Gate) -> None:
    champion, challenger = gate.promote(gate.register("positive")), gate.register("negative")
    server.until(version=champion.version, phase="serving")
    assert tidemill("canary", challenger.version, "--share", "100%", "--why", "to see").exit_code == 0
    server.terminate()
    server.start()
    server.until(ok=True)
    until(lambda: set(answered_by(server).values()) == {(challenger.version, "negative")})
    result = tidemill("canary", "--off", "--why", "enough")
    assert "answers alone on 1 of 1 servers" in result.output
    assert set(answered_by(server).values()) == {(champion.version, "positive")}


def test_all_replicas_serve_the_same_version_after_one_decision(settings: Settings, gate: Gate) -> None:
    first, second = gate.register("positive"), gate.register("negative")
    gate.promote(first)
    with ExitStack() as running:
        for number in range(REPLICAS):
            running.enter_context(ServerProcess(replica(settings, number)))
        until(lambda: versions(settings) == [first.version] * REPLICAS)
        decided = time.monotonic()
        gate.promote(second)
        until(lambda: versions(settings) == [second.version] * REPLICAS)
        print(f"{REPLICAS} replicas on one machine followed within {time.monotonic() - decided:.2f} s")
        result = tidemill("status", "--json")
        assert result.exit_code == 0, result.output
        assert all(f'"replica-{number}"' in result.output for number in range(REPLICAS))
    states = servers(settings)
    assert len({state.url for state in states}) == REPLICAS


def replica(settings: Settings, number: int) -> Settings:
    update = {"replica_id": f"replica-{number}", "port": ports.choose(("port",), {})["port"]}
    server = settings.server.model_copy(update=update)
    return settings.model_copy(update={"server": server, "home": settings.home / str(number)})


def versions(settings: Settings) -> list[str | None]:
    """Of the replicas that serve, as announced."""
    found: list[ServerState] = servers(settings)
    return [state.version for state in found if state.phase is ServerPhase.SERVING]


def counts(settings: Settings) -> list[CanaryCounts]:
    return [decode(CanaryCounts, each.value, each.where()) for each in read_topic(settings, "test", CANARIES_COUNTS)]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
