"""`GET /docs`: the addresses and their formats as one page without scripts; programs read `/openapi.json`."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI
from jinja2 import Environment
from starlette.responses import HTMLResponse

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>vectalk: API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark } body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: auto;
padding: 1rem } pre { overflow: auto; padding: .7rem; border: 1px solid #8886; border-radius: 4px }
.text { white-space: pre-line } h2 code { font-size: 1em } summary { cursor: pointer }
</style>
<h1>vectalk {{ info.version }}</h1><p>{{ info.summary }} <a href="/openapi.json">openapi.json</a></p>
<nav><ul>{% for o in operations %}<li><a href="#{{ o.id }}"><code>{{ o.method }} {{ o.path }}</code></a>
 {{ o.summary }}</li>{% endfor %}</ul></nav>
{% for o in operations %}<section id="{{ o.id }}"><h2><code>{{ o.method }} {{ o.path }}</code></h2>
<p><strong>{{ o.summary }}</strong></p>{% if o.description %}<p class="text">{{ o.description }}</p>{% endif %}
{% if o.parameters %}<ul>{% for p in o.parameters %}<li><code>{{ p.name }}</code> ({{ p.place }}{% if p.required %},
 required{% endif %}) {{ p.description }}</li>{% endfor %}</ul>{% endif %}
{% if o.example %}<p>Example:</p><pre>{{ o.example }}</pre>{% endif %}
{% if o.schema %}<details><summary>Format of the body</summary><pre>{{ o.schema }}</pre></details>{% endif %}
</section>{% endfor %}</html>"""


def docs_routes(app: FastAPI) -> APIRouter:
    """Return the route of the documentation of an application."""
    router = APIRouter(include_in_schema=False)

    @cache
    def page() -> str:
        schema = app.openapi()
        template = Environment(autoescape=True).from_string(PAGE)
        return template.render(info=schema["info"], operations=_operations(schema))

    @router.get("/docs")
    def docs() -> HTMLResponse:
        return HTMLResponse(page(), headers={"content-security-policy": POLICY})

    return router


def _operations(schema: dict[str, Any]) -> list[dict[str, Any]]:
    operations = []
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            example = operation.get("x-vectalk-example")
            operations.append(
                {
                    "id": operation["operationId"],
                    "method": method.upper(),
                    "path": path,
                    "summary": operation.get("summary", ""),
                    "description": (operation.get("description") or "").strip(),
                    "parameters": [
                        {
                            "name": one["name"],
                            "place": one["in"],
                            "required": one.get("required", False),
                            "description": one.get("description") or one["schema"].get("description", ""),
                        }
                        for one in operation.get("parameters", [])
                    ],
                    "example": json.dumps(example, indent=2, ensure_ascii=False) if example else None,
                    "schema": json.dumps(_resolved(body, schema, 0), indent=2, ensure_ascii=False) if body else None,
                }
            )
    return operations


def _resolved(value: Any, schema: dict[str, Any], depth: int) -> Any:
    """Put referenced schemas where they are used."""
    if isinstance(value, list):
        return [_resolved(one, schema, depth) for one in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value and depth < 6:
        name = value["$ref"].rpartition("/")[2]
        return _resolved(schema["components"]["schemas"][name], schema, depth + 1)
    return {key: _resolved(one, schema, depth) for key, one in value.items()}
