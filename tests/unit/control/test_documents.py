"""The documents are made from the code and stay current."""

from pathlib import Path

import jsonschema
import pytest

from services.control import documents
from shared.events import LabeledReview
from shared.topics import ALL_TOPICS


def test_every_topic_and_field_is_described() -> None:
    text = documents.events_markdown()
    for topic in ALL_TOPICS:
        assert f"## `{topic.name}`" in text
        for field in topic.event.model_fields if topic.event else ():
            assert f"| `{field}` |" in text


def test_asyncapi_references_resolve() -> None:
    document = documents.asyncapi()
    for channel in document["channels"].values():
        name = channel["messages"]["message"]["$ref"].rsplit("/", 1)[1]
        payload = document["components"]["messages"][name]["payload"]
        if "$ref" in payload:
            assert payload["$ref"].rsplit("/", 1)[1] in document["components"]["schemas"]


def test_the_published_schema_accepts_what_the_door_accepts() -> None:
    document = documents.asyncapi()
    schema = {"$ref": "#/components/schemas/LabeledReview", "components": document["components"]}
    validator = jsonschema.Draft202012Validator(schema)
    message = {"text": "good", "label": 1, "split": "test"}
    assert LabeledReview.model_validate(message)
    assert validator.is_valid(message)
    assert not validator.is_valid({"label": 1})


def test_a_stale_document_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(documents, "DOCS", tmp_path / "docs")
    (tmp_path / "docs").mkdir()
    assert documents.main([]) == 0
    assert documents.main(["--check"]) == 0
    (tmp_path / "docs" / "events.md").write_text("old")
    assert documents.main(["--check"]) == 1
    assert "events.md is not current" in capsys.readouterr().err
