"""The OpenAPI 3.1 document of one loaded model: its fields, their types, and requests that work."""

from typing import TYPE_CHECKING, Any

from mlops_assets.serving import bundle, protocol
from mlops_assets.serving.bundle import Manifest
from mlops_assets.serving.schema import Column

if TYPE_CHECKING:
    from mlops_assets.serving.service import Service

Json = dict[str, Any]

REFUSALS = {
    400: "The body does not fit the schema; the message names field, row and what is allowed.",
    408: "The body did not arrive in time.",
    413: "The body or the batch is too large.",
    415: "The content type or encoding is not known.",
    500: "The endpoint failed; its log says why.",
    503: "Not ready, or too many requests in flight: try again after `Retry-After` seconds.",
}
NUMBERS = ", ".join(protocol.ALLOWED["numeric"])


def document(service: "Service") -> Json:
    """What `/openapi.json` answers."""
    manifest = service.scorer.manifest
    record = bundle.read_golden(service.scorer.folder).records[0]
    model = f"/v2/models/{manifest.model}"
    paths: Json = {
        "/invocations": {"post": _invocations(manifest, record)},
        "/ping": {"get": _get("Is the model ready?", "Health", {503})},
        "/v2": {"get": _get("The server, in the words of the Open Inference Protocol.", "Any")},
        "/v2/health/live": {"get": _get("Is the process up?", "Health")},
        "/v2/health/ready": {"get": _get("Is the model ready?", "Health", {503})},
    }
    for prefix in (model, f"{model}/versions/{service.version}"):
        paths[prefix] = {"get": _get("The model: inputs, outputs, classes, threshold.", "Any")}
        paths[f"{prefix}/ready"] = {"get": _get("Is the model ready?", "Health", {503})}
        paths[f"{prefix}/infer"] = {"post": _infer(manifest, record)}
    paths["/metrics"] = {
        "get": {
            "summary": "Prometheus text.",
            "responses": {"200": {"description": "Metrics.", "content": {"text/plain": {}}}},
        }
    }
    content: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": manifest.model,
            "version": service.version,
            "description": f"Version {service.version} of `{manifest.model}`, a model for "
            f"{manifest.task.replace('_', ' ')}. Run {manifest.run_id}.",
        },
        "paths": paths,
        "components": {"schemas": _schemas(manifest, service.limits.max_rows)},
    }
    return _locked(content) if service.keys else content


def _locked(content: Json) -> Json:
    """The document of a service that asks for a key; health and metrics stay open."""
    content["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for path, item in content["paths"].items():
        if path.endswith(("/ping", "/live", "/ready", "/metrics")):
            continue
        for operation in item.values():
            operation["security"] = [{"bearer": []}, {"key": []}]
            operation["responses"]["401"] = _answer("A key is needed.", "Refusal")
    return content


def _invocations(manifest: Manifest, record: Json) -> Json:
    names = list(manifest.schema.names)
    values = [record[name] for name in names]
    bodies = {
        "dataframe_split": {"columns": names, "data": [values]},
        "dataframe_records": [record],
        "instances": [record],
        "inputs": {name: [value] for name, value in zip(names, values, strict=True)},
    }
    examples = {name: {"value": {name: body}} for name, body in bodies.items()}
    return {
        "summary": "Score rows, in the dialects of MLflow and SageMaker.",
        "parameters": [
            {
                "name": "explain",
                "in": "query",
                "description": "Say for each row how much each field contributed.",
                "schema": {"type": "boolean", "default": False},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/Invocation"},
                    "examples": examples,
                }
            },
            "description": "Also `text/csv`, with a header line or in the order of the schema, "
            "and `application/jsonlines`, a record per line.",
        },
        "responses": _responses("Answer", set(REFUSALS)),
    }


def _infer(manifest: Manifest, record: Json) -> Json:
    inputs = [
        {
            "name": column.name,
            "shape": [1],
            "datatype": protocol.DATATYPES[column.type],
            "data": [record[column.name]],
        }
        for column in manifest.schema.columns
    ]
    return {
        "summary": "Score rows, in the Open Inference Protocol.",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/Inference"},
                    "examples": {"tensors": {"value": {"inputs": inputs}}},
                }
            },
        },
        "responses": _responses("InferenceAnswer", set(REFUSALS)),
    }


def _get(summary: str, schema: str, refusals: set[int] | None = None) -> Json:
    responses = _responses(schema, set())
    for status in refusals or ():
        responses[str(status)] = _answer("Not ready.", schema)
    return {"summary": summary, "responses": responses}


def _responses(schema: str, refusals: set[int]) -> Json:
    refused = {str(s): _answer(REFUSALS[s], "Refusal") for s in sorted(refusals)}
    return {"200": _answer("Answered.", schema), **refused}


def _answer(text: str, schema: str) -> Json:
    return {
        "description": text,
        "headers": {"x-request-id": {"schema": {"type": "string"}}},
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


def _schemas(manifest: Manifest, max_rows: int) -> Json:
    fields = {column.name: _field(column) for column in manifest.schema.columns}
    names = list(manifest.schema.names)
    optional: Json = {}
    if manifest.entity is not None:
        text = "Whom the row is about; no input of the model, and never needed."
        optional = {manifest.entity: {"type": ["string", "number", "null"], "description": text}}
    row = _object(fields | optional, names)
    bounds = {"minItems": 1, "maxItems": max_rows}
    rows = {"type": "array", "items": {"$ref": "#/components/schemas/Row"}, **bounds}
    columns = _object(
        {name: {"type": "array", "items": f, **bounds} for name, f in (fields | optional).items()},
        names,
    )
    split = _object(
        {
            "columns": {"const": names, "description": "The fields, in any order."},
            "data": {
                "type": "array",
                "items": {
                    "type": "array",
                    "prefixItems": list(fields.values()),
                    "items": False,
                    "minItems": len(names),
                },
                **bounds,
            },
            "index": {"description": "Ignored."},
        },
        ["columns", "data"],
    )
    either = {"anyOf": [rows, {"$ref": "#/components/schemas/Columns"}]}
    dialects = {
        "dataframe_split": split,
        "dataframe_records": rows,
        "instances": either,
        "inputs": either,
    }
    named = {"model": _text(), "version": _text(), "request_id": _text()}
    return {
        "Row": row,
        "Columns": columns | {"description": "All fields need as many values."},
        "Invocation": {"oneOf": [_object({n: s}, [n]) for n, s in dialects.items()]},
        "Answer": _scores(manifest, named),
        "Inference": _inference(),
        "InferenceAnswer": {
            "type": "object",
            "required": ["model_name", "model_version", "id", "outputs"],
        },
        "Health": {"type": "object", "properties": named, "required": list(named)},
        "Refusal": _object({"error": _text(), "message": _text()} | named, ["error", *named]),
        "Any": {"type": "object"},
    }


def _scores(manifest: Manifest, named: Json) -> Json:
    if manifest.task == "regression":
        scores: Json = {"predictions": {"type": "array", "items": {"type": "number"}}}
    else:
        probability = {"type": "number", "minimum": 0, "maximum": 1}
        scores = {
            "predictions": {"type": "array", "items": {"enum": list(manifest.classes)}},
            "probabilities": {"type": "array", "items": {"type": "array", "items": probability}},
            "classes": {"const": list(manifest.classes)},
        }
    explanations = {"explanations": {"description": "When asked for."}}
    return _object(scores | named | explanations, [*scores, *named])


def _inference() -> Json:
    tensor = _object(
        {
            "name": _text(),
            "shape": {"type": "array", "items": {"type": "integer"}, "description": "[n], [n, 1]"},
            "datatype": _text(f"Numbers: {NUMBERS}; booleans: BOOL or integers; others: BYTES."),
            "data": {"type": "array", "description": "Row by row, null where not known."},
            "parameters": {"type": "object"},
        },
        ["name", "shape", "datatype", "data"],
    )
    output = _object({"name": _text(), "parameters": {"type": "object"}}, ["name"])
    return _object(
        {
            "inputs": {"type": "array", "items": tensor, "minItems": 1},
            "id": _text(),
            "parameters": {"type": "object", "properties": {"explain": {"type": "boolean"}}},
            "outputs": {"type": "array", "items": output},
        },
        ["inputs"],
    )


def _field(column: Column) -> Json:
    notes = ["with missing values" if column.nullable else "never missing"]
    if column.minimum is not None:
        notes.append(f"from {column.minimum:g} to {column.maximum:g}")
    if column.integer:
        notes.append("whole numbers")
    described = {"description": f"In training: {', '.join(notes)}."}
    if column.type == "boolean":
        return {"enum": [True, False, 0, 1, None], **described}
    if column.type == "numeric":
        return {"type": ["number", "null"], **described}
    examples = {"examples": list(column.categories[:20])} if column.categories else {}
    return {"type": ["string", "null"], **described, **examples}


def _object(properties: Json, required: list[str]) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _text(description: str = "") -> Json:
    return {"type": "string", "description": description} if description else {"type": "string"}
