"""The page /docs: made here from the OpenAPI document, because a server may stand where no CDN can be reached."""

import json
from html import escape
from typing import Any

from services.server.api.documented import LINE_SCHEMA, SAMPLES

STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222}
code,pre{font-family:ui-monospace,monospace;background:#f3f3f3}pre{padding:.75rem;overflow:auto}
h2 b{color:#fff;background:#27617d;padding:.1rem .5rem;border-radius:.25rem;font-size:.8em}
table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.25rem .6rem;text-align:left}"""


def docs_page(document: dict[str, Any]) -> str:
    """A self-contained page that describes every operation of an OpenAPI document."""
    info = document["info"]
    operations = "".join(
        _operation(method, path, operation, document)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    title = escape(info["title"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        f"<h1>{title} {escape(info['version'])}</h1><p>{escape(info.get('description', ''))}</p>"
        '<p>For tools: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1). The examples are shell lines; put this '
        "server's address into the variable <code>URL</code> first.</p>"
        f"{operations}</html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    description = "".join(f"<p>{escape(part)}</p>" for part in operation.get("description", "").split("\n\n"))
    return (
        f"<h2><b>{method.upper()}</b> <code>{escape(path)}</code></h2>{description}"
        f"{_examples(operation)}{_bodies(operation, document)}{_answers(operation)}"
    )


def _examples(operation: dict[str, Any]) -> str:
    return "".join(f"<pre>{escape(sample['source'])}</pre>" for sample in operation.get(SAMPLES, ()))


def _bodies(operation: dict[str, Any], document: dict[str, Any]) -> str:
    contents = operation.get("requestBody", {}).get("content", {})
    return "".join(
        f"<details><summary>Takes {escape(kind)}</summary>{_shape(content, document)}</details>"
        for kind, content in contents.items()
    )


def _shape(content: dict[str, Any], document: dict[str, Any]) -> str:
    schema = _resolved(content.get(LINE_SCHEMA, content["schema"]), document)
    return f"<pre>{escape(json.dumps(schema, indent=2))}</pre>"


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"][name] if name else schema


def _answers(operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(answer['description'])}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    return f"<table><tr><th>Status</th><th>Answer</th></tr>{rows}</table>"
