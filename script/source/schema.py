"""The JSON Schema of a Script, generated from the models.

`python -m script.source.schema` prints it, `docs/script.schema.json` keeps it.
"""

import sys

import orjson

from script.source.ast import Script


def schema_text() -> str:
    """The schema as JSON text."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Script.model_json_schema(by_alias=True)}
    return orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
