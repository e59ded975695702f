"""The page for people at `/docs`: it shows the OpenAPI document and sends a request.

Self-contained. Everything that comes from the model is set as text, never as HTML.
"""

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --accent: #0b6bcb; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); }
td { vertical-align: top; }
code, pre, textarea { font: 13px/1.45 ui-monospace, monospace; }
pre { background: var(--soft); padding: .8rem; overflow: auto; border-radius: 4px; }
textarea { width: 100%; height: 14rem; box-sizing: border-box; }
form > * { margin: .3rem .6rem .3rem 0; }
button { padding: .35rem 1.2rem; background: var(--accent); color: #fff; border: 0;
         border-radius: 4px; cursor: pointer; }
.method { display: inline-block; width: 3.5rem; font-weight: 600; color: var(--accent); }
"""

SCRIPT = """
const $ = id => document.getElementById(id);
const add = (parent, tag, text) => {
  const node = document.createElement(tag);
  node.textContent = text;
  parent.append(node);
  return node;
};
const key = () => $('key').value ? {'x-api-key': $('key').value} : {};
let examples = {};

function choose() {
  $('body').value = JSON.stringify(examples[$('example').value].body, null, 2);
}
function showExamples(paths) {
  for (const [path, item] of Object.entries(paths)) {
    const content = item.post?.requestBody?.content['application/json'];
    if (!content || path.includes('/versions/')) continue;
    for (const [name, example] of Object.entries(content.examples)) {
      examples[`${path} - ${name}`] = {path, body: example.value};
      add($('example'), 'option', `${path} - ${name}`);
    }
  }
  choose();
}
function showFields(row) {
  for (const [name, field] of Object.entries(row.properties)) {
    const line = add($('fields'), 'tr', '');
    add(add(line, 'td', ''), 'code', name);
    add(line, 'td', field.enum ? 'boolean or null' : field.type.join(' or '));
    const shown = (field.examples ?? []).map(x => JSON.stringify(x)).join(', ');
    const cell = add(line, 'td', field.description + ' ');
    if (shown) add(cell, 'code', shown);
  }
}
function showPaths(paths) {
  for (const [path, item] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(item)) {
      const box = add($('paths'), 'details', '');
      const head = add(box, 'summary', '');
      add(head, 'span', method.toUpperCase()).className = 'method';
      add(head, 'code', path);
      add(head, 'span', ' ' + operation.summary);
      if (operation.requestBody?.description) add(box, 'p', operation.requestBody.description);
      const table = add(box, 'table', '');
      for (const [status, response] of Object.entries(operation.responses)) {
        const line = add(table, 'tr', '');
        add(line, 'td', status);
        add(line, 'td', response.description);
      }
    }
  }
}
async function load() {
  const response = await fetch('openapi.json', {headers: key()});
  if (response.status === 401) {
    $('about').textContent = 'This endpoint asks for a key: enter it below.';
    return;
  }
  const text = await response.json();
  for (const id of ['example', 'fields', 'paths']) $(id).replaceChildren();
  examples = {};
  document.title = $('title').textContent = text.info.title;
  $('about').textContent = text.info.description.replaceAll('`', '');
  showExamples(text.paths);
  showFields(text.components.schemas.Row);
  showPaths(text.paths);
}
async function send(event) {
  event.preventDefault();
  const {path} = examples[$('example').value];
  const query = path === '/invocations' && $('explain').checked ? '?explain=true' : '';
  const started = performance.now();
  const response = await fetch(path.slice(1) + query, {
    method: 'POST', body: $('body').value,
    headers: {'content-type': 'application/json', ...key()},
  });
  const text = await response.text();
  const milliseconds = (performance.now() - started).toFixed(1);
  let shown = text;
  try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* shown as it came */ }
  $('answer').textContent = `${response.status} in ${milliseconds} ms\\n\\n${shown}`;
}
$('example').addEventListener('change', choose);
$('key').addEventListener('change', load);
$('form').addEventListener('submit', send);
load();
"""

BODY = """
<h1 id="title">Endpoint</h1>
<p id="about"></p>
<h2>Try it</h2>
<form id="form">
<select id="example" aria-label="example"></select>
<label><input type="checkbox" id="explain"> explain</label>
<label>key <input id="key" type="password" autocomplete="off"></label>
<textarea id="body" spellcheck="false" aria-label="body"></textarea>
<button>Send</button>
</form>
<pre id="answer">The answer appears here.</pre>
<h2>Fields</h2>
<table><thead><tr><th>name</th><th>type</th><th>notes</th></tr></thead>
<tbody id="fields"></tbody></table>
<h2>Paths</h2>
<p>The whole contract: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p>
<div id="paths"></div>
"""

HTML = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Endpoint</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{STYLE}</style></head>
<body>{BODY}<script>{SCRIPT}</script></body></html>
""".encode()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


HEADERS = (
    (
        b"content-security-policy",
        f"default-src 'none'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}".encode(),
    ),
    (b"x-content-type-options", b"nosniff"),
)
