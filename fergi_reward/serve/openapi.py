"""What the addresses take and answer, as an OpenAPI document and as a page that asks no other server for anything."""

from html import escape
from typing import Any

from fergi_reward.serve.options import ServeLimits
from fergi_reward.serve.protocols.tensor_rows import MEDIA_TYPE
from fergi_reward.version import __version__

NUMBERS = {"type": "array", "items": {"type": ["number", "null"]}}
COLUMNS = {"type": "object", "additionalProperties": NUMBERS}
TEXTS = {"type": "array", "items": {"type": "string"}}
STATUSES = {
    "400": "The request is not of its form; `error` says why.",
    "401": "The token is missing or wrong.",
    "413": "The body is too large.",
    "429": "Too much waits; `Retry-After` says when to ask again.",
    "503": "The scorers are being loaded, the server ends, or what a scorer asks is not available.",
    "504": "There was no answer within the time limit.",
}


def description(limits: ServeLimits) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    image = {
        "type": "object",
        "properties": {"base64": {"type": "string"}, "path": {"type": "string"}},
        "maxProperties": 1,
    }
    asked = {
        "type": "object",
        "required": ["prompts", "images"],
        "properties": {
            "prompts": {"oneOf": [{"type": "string"}, TEXTS]},
            "images": {"type": "array", "items": image, "minItems": 1, "maxItems": limits.max_images},
            "image_ids": TEXTS,
        },
    }
    answer = {
        "type": "object",
        "properties": {
            "reward": {"type": "string", "description": "Digest of weights and calibration."},
            "total": NUMBERS,
            "terms": COLUMNS,
            "contributions": COLUMNS,
            "missing": COLUMNS,
            "errors": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }
    binary = {"schema": {"type": "string", "format": "binary"}}
    any_json = {"application/json": {"schema": {"type": "object"}}}
    paths = {
        "/v1/score": _post("Score images.", {"application/json": {"schema": asked}, MEDIA_TYPE: binary}, answer),
        "/v1/reward": _get("What the reward is made of, with digests."),
        "/score": _post("Score images: UniRL's protocol.", any_json, {"type": "object"}),
        "/pickle": _post(
            "Score images: flow_grpo's and verl-omni's protocol.", {"application/octet-stream": binary}, None
        ),
        "/rewards": _get("The rewards that UniRL's protocol may ask for."),
        "/health": _get("200 when the scorers are loaded, else 503."),
        "/metrics": _get("Counts for Prometheus."),
    }
    return {"openapi": "3.1.0", "info": {"title": "fergi-reward", "version": __version__}, "paths": paths}


def _get(summary: str) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": {"200": {"description": "OK"}}}}


def _post(summary: str, content: dict[str, Any], answer: dict[str, Any] | None) -> dict[str, Any]:
    good = {"application/json": {"schema": answer}} if answer else {"application/octet-stream": {}}
    responses = {"200": {"description": "A row per image.", "content": good}}
    refused = {status: {"description": text} for status, text in STATUSES.items()}
    return {"post": {"summary": summary, "requestBody": {"content": content}, "responses": responses | refused}}


def page(document: dict[str, Any]) -> str:
    """The document for people."""
    rows = "".join(
        f"<tr><td>{escape(method.upper())}</td><td><code>{escape(path)}</code></td><td>{escape(one['summary'])}</td>"
        f"<td>{escape(', '.join(one.get('requestBody', {}).get('content', {})))}</td></tr>"
        for path, methods in document["paths"].items()
        for method, one in methods.items()
    )
    statuses = "".join(f"<tr><td>{status}</td><td>{escape(text)}</td></tr>" for status, text in STATUSES.items())
    style = "body{font:16px system-ui;margin:2em auto;max-width:60em;padding:0 1em}td{padding:.3em 1em .3em 0}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>fergi-reward</title><style>{style}'
        "@media(prefers-color-scheme:dark){body{background:#111;color:#eee}a{color:#9cf}}</style>"
        f"<h1>fergi-reward {escape(document['info']['version'])}</h1><table>{rows}</table>"
        f"<h2>Refused requests</h2><table>{statuses}</table>"
        '<p>The whole description: <a href="/openapi.json">openapi.json</a>.</p></html>'
    )
