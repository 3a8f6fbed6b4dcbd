"""Documents made from the code: `docs/events.md`, `docs/asyncapi.json`, `docs/settings.md`.

`python -m services.control.documents` writes them; `--check` exits 1 if one is not current.
"""

import json
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared.settings import Settings
from shared.topics import ALL_TOPICS, DAY_MS, MAX_REVIEW_BYTES, Topic

DOCS = Path(__file__).parents[2] / "docs"
MADE = "<!-- Made by `make documents` from the code. Do not edit. -->"
REJECTED_HEADERS = {
    "tidemill_reason": "Why, from the closed set of rejection reasons.",
    "tidemill_detail": "What was wrong, in a sentence.",
    "tidemill_origin": "PARTITION:OFFSET of the record in `reviews.labeled`.",
}
CLOUD_EVENT_HEADERS = ("ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "content-type", "traceparent")


def events_markdown() -> str:
    """Every topic with its settings and the fields of its event."""
    parts = [MADE, "# Topics and events", _events_introduction()]
    parts += [_topic_markdown(topic) for topic in ALL_TOPICS]
    parts += ["## Parts of events", *(_model_markdown(model) for model in _nested_models())]
    return "\n\n".join(parts) + "\n"


def _events_introduction() -> str:
    return (
        "Values are UTF-8 JSON. Names below are without the stream's prefix (`stream.prefix`); with one, a topic is\n"
        "`PREFIX.reviews.labeled`. Events that Tidemill writes carry CloudEvents headers\n"
        f"({', '.join(f'`{header}`' for header in CLOUD_EVENT_HEADERS)}).\n"
        "Every topic has `message.timestamp.type=LogAppendTime`: age and retention go by the broker's clock.\n\n"
        'To publish, send `{"text": "…", "label": …}` to `reviews.labeled` with any Kafka client. Everything else is\n'
        "optional. What cannot be read goes to `reviews.rejected` whole, with the reason."
    )


def _topic_markdown(topic: Topic) -> str:
    retention = "for ever" if topic.retention_ms < 0 else f"{topic.retention_ms // DAY_MS} days"
    kept = "the last record of each key" if topic.compact else retention
    lines = [
        f"## `{topic.name}`",
        "",
        topic.summary,
        "",
        f"Key: {topic.key}. Partitions: {topic.partitions}. Kept: {kept}. "
        f"Largest message: {topic.max_message_bytes // 1024} KiB. "
        f"Written by: {topic.written_by}. Read by: {topic.read_by}.",
        "",
    ]
    if topic.event is None:
        lines += ["| header | meaning |", "| --- | --- |"]
        lines += [f"| `{name}` | {meaning} |" for name, meaning in REJECTED_HEADERS.items()]
    else:
        lines += [f"Event: `{topic.event.__name__}` (`{getattr(topic.event, 'ce_type', '')}`).", ""]
        lines += _fields_table(topic.event)
    return "\n".join(lines)


def _fields_table(model: type[BaseModel]) -> list[str]:
    schema = model.model_json_schema()
    required = set(schema.get("required", ()))
    rows = [
        f"| `{name}` | {_type_name(field)} | {_yes(name in required)} | {_cell(field.get('description'))} |"
        for name, field in schema["properties"].items()
    ]
    return ["| field | type | required | meaning |", "| --- | --- | --- | --- |", *rows]


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


def _type_name(schema: dict[str, Any]) -> str:
    """A field's JSON type as people read it."""
    match schema:
        case {"anyOf": options}:
            return " or ".join(_type_name(option) for option in options)
        case {"$ref": reference}:
            return f"`{reference.rsplit('/', 1)[1]}`"
        case {"const": value}:
            return f"`{value}`"
        case {"enum": values}:
            return " or ".join(f"`{value}`" for value in values)
        case {"type": "array", "items": items}:
            return f"list of {_type_name(items)}"
        case {"type": "object", "additionalProperties": dict() as values}:
            return f"object of {_type_name(values)}"
        case {"format": form}:
            return str(form)
        case _:
            return str(schema.get("type", "any"))


def _nested_models() -> list[type[BaseModel] | type[StrEnum]]:
    """Models and enumerations that are fields of events, each once, in order of first use."""
    seen: dict[str, type[BaseModel] | type[StrEnum]] = {}
    for topic in ALL_TOPICS:
        if topic.event is not None:
            for model in _models_of(topic.event):
                seen.setdefault(model.__name__, model)
    return list(seen.values())


def _models_of(model: type[BaseModel]) -> Iterator[type[BaseModel] | type[StrEnum]]:
    for field in model.model_fields.values():
        for leaf in _leaves(field.annotation):
            if isinstance(leaf, type) and issubclass(leaf, BaseModel | StrEnum):
                yield leaf
            if isinstance(leaf, type) and issubclass(leaf, BaseModel):
                yield from _models_of(leaf)


def _leaves(annotation: Any) -> Iterator[Any]:
    arguments = getattr(annotation, "__args__", ())
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _leaves(argument)


def _model_markdown(model: type[BaseModel] | type[StrEnum]) -> str:
    summary = (model.__doc__ or "").strip().splitlines()[0]
    if issubclass(model, StrEnum):
        fields = ["One of " + ", ".join(f"`{value}`" for value in model) + "."]
    else:
        fields = _fields_table(model)
    return "\n".join([f"### `{model.__name__}`", "", summary, "", *fields])


def asyncapi() -> dict[str, Any]:
    """An AsyncAPI 3.0.0 document of all topics. Source: AsyncAPI Specification 3.0.0, Kafka bindings 0.5.0."""
    events = [topic.event for topic in ALL_TOPICS if topic.event is not None]
    _, definitions = models_json_schema(
        [(event, "validation") for event in events], ref_template="#/components/schemas/{model}"
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tidemill",
            "version": "1.0.0",
            "description": "Labelled reviews in, windows, models, decisions and served predictions out.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in ALL_TOPICS},
        "operations": {
            "publishReview": {
                "action": "send",
                "channel": {"$ref": "#/channels/reviews.labeled"},
                "summary": "Publish a labelled review.",
            }
        }
        | {f"receive.{topic.name}": _receive(topic) for topic in ALL_TOPICS if topic.name != "reviews.labeled"},
        "components": {
            "schemas": definitions["$defs"],
            "messages": {topic.name: _message(topic) for topic in ALL_TOPICS},
        },
    }


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": topic.summary,
        "messages": {"message": {"$ref": f"#/components/messages/{topic.name}"}},
        "bindings": {
            "kafka": {
                "bindingVersion": "0.5.0",
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {
                    "cleanup.policy": ["compact" if topic.compact else "delete"],
                    "retention.ms": topic.retention_ms,
                    "max.message.bytes": topic.max_message_bytes,
                },
            }
        },
    }


def _receive(topic: Topic) -> dict[str, Any]:
    return {"action": "receive", "channel": {"$ref": f"#/channels/{topic.name}"}, "summary": topic.summary}


def _message(topic: Topic) -> dict[str, Any]:
    message: dict[str, Any] = {
        "name": topic.name,
        "summary": topic.summary,
        "bindings": {"kafka": {"key": {"type": "string", "description": topic.key}, "bindingVersion": "0.5.0"}},
    }
    if topic.event is None:
        headers = {name: {"type": "string", "description": meaning} for name, meaning in REJECTED_HEADERS.items()}
        payload: dict[str, Any] = {"description": f"The original bytes, at most {MAX_REVIEW_BYTES} of them."}
        return message | {"contentType": "application/octet-stream", "payload": payload, "headers": _object(headers)}
    headers = {name: {"type": "string"} for name in CLOUD_EVENT_HEADERS}
    return message | {"payload": {"$ref": f"#/components/schemas/{topic.event.__name__}"}, "headers": _object(headers)}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def settings_markdown() -> str:
    """Every setting with its default and meaning."""
    lines = [
        MADE,
        "# Settings",
        "",
        "Lowest first: these defaults, `tidemill.toml` in the working folder (or the file named by `TIDEMILL_CONFIG`),",
        "environment variables: `TIDEMILL_` and the path in capitals with two underscores between its parts; lists",
        "and tables as JSON. A name that does not exist is refused. Example: `TIDEMILL_TRAINING__EPOCHS=3`.",
        "",
        "| setting | default | meaning |",
        "| --- | --- | --- |",
        *_settings_rows(Settings, ""),
    ]
    return "\n".join(lines) + "\n"


def _settings_rows(model: type[BaseModel], path: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            for option in (type(default), *_other_kinds(field.annotation, type(default))):
                yield f"| **`{path}{name}`** | | {(option.__doc__ or '').strip().splitlines()[0]} |"
                yield from _settings_rows(option, f"{path}{name}.")
        else:
            yield f"| `{path}{name}` | `{_cell(_default_text(default))}` | {_cell(field.description)} |"


def _other_kinds(annotation: Any, default: type[BaseModel]) -> list[type[BaseModel]]:
    """What a union by kind may be besides its default."""
    leaves = [leaf for leaf in _leaves(annotation) if isinstance(leaf, type) and issubclass(leaf, BaseModel)]
    return [leaf for leaf in leaves if leaf is not default]


def _default_text(default: Any) -> str:
    if isinstance(default, tuple):
        items = [item.model_dump() if isinstance(item, BaseModel) else item for item in default]
        return json.dumps(items)
    return json.dumps(default) if isinstance(default, dict | bool | type(None)) else str(default)


def documents() -> dict[Path, str]:
    """Path -> text of every generated document."""
    return {
        DOCS / "events.md": events_markdown(),
        DOCS / "asyncapi.json": json.dumps(asyncapi(), indent=1) + "\n",
        DOCS / "settings.md": settings_markdown(),
    }


def main(arguments: list[str]) -> int:
    """Writes the documents, or with `--check` says which are not current."""
    if "--check" not in arguments:
        for path, text in documents().items():
            path.write_text(text)
        return 0
    stale = [path for path, text in documents().items() if not path.is_file() or path.read_text() != text]
    for path in stale:
        print(f"{path.relative_to(DOCS.parent)} is not current: run 'make documents'", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
