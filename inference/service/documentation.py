"""The page at `/docs`, made from the routes' OpenAPI: no scripts, no foreign files, unlike what FastAPI ships."""

from collections.abc import Mapping
from html import escape
from typing import Any


def documentation(title: str, openapi: Mapping[str, Any]) -> str:
    """An HTML page of the routes and of the fields of `POST /api/analyze`."""
    routes = [
        (method.upper(), path, operation["summary"])
        for path, operations in openapi["paths"].items()
        for method, operation in operations.items()
    ]
    rows = "".join(
        f"<h2><code>{method} {escape(path)}</code></h2><p>{escape(summary)}</p>" for method, path, summary in routes
    )
    body = openapi["paths"]["/api/analyze"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    fields = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(field['description'])}</td></tr>"
        for name, field in body["properties"].items()
    )
    return _PAGE.format(title=escape(title), rows=rows, fields=fields)


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}: routes</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }}
h2 {{ font-size: 1rem; margin: 1.4rem 0 0 }}
p {{ margin: .2rem 0 }}
td {{ padding: .15rem .8rem .15rem 0; vertical-align: top }}
pre {{ overflow: auto; padding: .8rem; border: 1px solid #8886; border-radius: 6px }}
</style>
<h1>{title}: routes</h1><p>The same as OpenAPI: <a href="openapi.json">openapi.json</a>.</p>{rows}
<h2>Fields of POST /api/analyze</h2><table>{fields}</table>
<h2>Example</h2>
<pre>curl -F image=@photo.jpg -F prompt="What is this?" -F adapter=base -F overlay=true …/api/analyze</pre>
<h2>Errors</h2><pre>{{"error": {{"code": "…", "message": "…", "hint": "…"}}}}</pre></html>"""
