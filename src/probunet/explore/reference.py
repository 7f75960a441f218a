"""The HTTP interface as a page to read, made of ``/openapi.json``: no script, and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>probunet explore: interface</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="reference.css"></head>
<body><main><h1>What other programs may ask</h1>
<p>Everything on <a href="./">the page</a> can be asked for over HTTP. <a href="openapi.json">openapi.json</a> is the
same for programs (OpenAPI), to generate clients from. Arrays come as bytes, little endian, with their shape in the
header <code>X-Shape</code>.</p>"""
TOKEN = "<p>Every request carries the token: <code>Authorization: Bearer TOKEN</code>.</p>"


def reference_page(schema: dict[str, Any]) -> str:
    """Write a description in OpenAPI as HTML.

    Args:
        schema: what ``/openapi.json`` says.
    """
    parts = [HEAD, TOKEN if schema.get("security") else ""]
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            parts += _operation(f"{method.upper()} {path}", operation)
    return "\n".join([*parts, "</main></body></html>"])


def _operation(title: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"<section><h2><code>{escape(title)}</code></h2><p>{escape(operation.get('description', ''))}</p>"
    if parameters := operation.get("parameters"):
        rows = "".join(map(_parameter, parameters))
        yield f"<table><tr><th>parameter</th><th>what it is</th><th>values</th></tr>{rows}</table>"
    if body := operation.get("requestBody"):
        yield f"<p>Body: {escape(', '.join(body['content']))}.</p>"
    answers = [
        f"<li><b>{escape(code)}</b> {escape(answer['description'])}"
        f"{escape(' (' + ', '.join(answer['content']) + ')') if answer.get('content') else ''}</li>"
        for code, answer in operation["responses"].items()
    ]
    yield f"<ul>{''.join(answers)}</ul></section>"


def _parameter(parameter: dict[str, Any]) -> str:
    needed = "needed" if parameter.get("required") else ""
    name, words = escape(parameter["name"]), escape(parameter.get("description", "") or needed)
    return f"<tr><td><code>{name}</code></td><td>{words}</td><td>{escape(_values(parameter['schema']))}</td></tr>"


def _values(schema: dict[str, Any]) -> str:
    """What a parameter may be, in words."""
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
    said = [" or ".join(map(str, kind.get("enum", [kind.get("type", "")]))) for kind in kinds]
    bounds = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "maxLength": "length up to"}
    said += [f"{word} {kind[bound]:g}" for kind in kinds for bound, word in bounds.items() if bound in kind]
    if schema.get("default") is not None:
        said.append(f"default {schema['default']}")
    return ", ".join(said)
