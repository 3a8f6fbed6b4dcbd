"""From windows of text to a decision about a base, through both services: what one makes, the other can judge."""

from pathlib import Path

import pytest

from deploy.local.broker import Broker
from deploy.local.mlflow_server import MlflowServer
from services.evaluator.bases import loop
from shared.envelope import decode
from shared.events import BaseDecision, Verdict
from shared.exam import EXAM_FOLDER
from shared.kafka import read_topic
from shared.registry import BASE, Registry
from shared.topics import BASES_DECISIONS
from tests.integration.evaluator.stage import InlineScoring, Running
from tests.integration.retrainer.stage import Stream, mill, settings_for

ENTRIES = "base_ledger_number"


@pytest.mark.slow
def test_a_base_that_the_retrainer_made_is_judged_on_what_neither_learned(
    broker: Broker,
    mlflow_server: MlflowServer,
    topic_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings_for(
        broker.bootstrap_servers, mlflow_server.uri, topic_prefix, tmp_path / "home", tmp_path / "cache"
    )
    stream = Stream(settings)
    stream.announce(stream.window(), stream.texts())
    with mill(settings) as retrainer:
        retrainer.turn(retrainer.adapted(1))
    (candidate,) = stream.base_candidates()
    monkeypatch.setattr(loop, "ScoringProcess", InlineScoring)
    evaluator = Running(settings, loop.build)
    evaluator.until_entry(1, ENTRIES)
    evaluator.turn(5)
    evaluator.close()
    (record,) = read_topic(settings, "reader", BASES_DECISIONS)
    decision = decode(BaseDecision, record.value, record.where())
    assert (decision.version, decision.model_digest) == (candidate.version, candidate.model_digest)
    assert len(decision.terms) == 2
    assert decision.numbers["texts"] > 0
    assert decision.numbers["rows"] > 0
    # It learned sentences like these: whether it classifies as well, so few reviews need not prove.
    assert decision.terms[0].name == "perplexity"
    assert decision.numbers["perplexity_after"] < decision.numbers["perplexity_before"]
    bases = Registry(settings, model=settings.stream.registered_base)
    assert bases.aliased(BASE) == (candidate.version if decision.verdict is Verdict.PROMOTE else None)
    assert not any(item.path == EXAM_FOLDER for item in bases._client.list_artifacts(str(candidate.run_id)))
