"""The graph of the demo, as text: a changed edge is seen in review.

`LINEAGE_WRITE=1 pytest mlops_assets_tests/test_lineage.py` writes the text again.
"""

import os
from pathlib import Path

from mlops_assets import definitions, settings

ROOT = Path(__file__).parent.parent
EXPERIMENT = "churn"
GOLDEN = Path(__file__).parent / "lineage.txt"


def lineage() -> str:
    """One line per asset, in the order the data flows: asset, what it is made from, its checks."""
    loaded = definitions.load(settings.load({"MLOPS_ROOT": str(ROOT)}))
    graph = loaded.resolve_asset_graph()
    levels = enumerate(graph.toposorted_asset_keys_by_level)
    order = {key: at for at, keys in levels for key in keys if key.path[0] == EXPERIMENT}
    lines = []
    for key in sorted(order, key=lambda key: (order[key], key.to_user_string())):
        node = graph.get(key)
        parents = sorted(parent.to_user_string() for parent in node.parent_keys)
        lines.append(f"{key.to_user_string()} <- {', '.join(parents) or 'the outside world'}")
        for check in sorted(graph.get_check_keys_for_assets({key})):
            spec = graph.get_check_spec(check)
            lines.append(f"    {spec.name}{' (blocking)' if spec.blocking else ''}")
    return "\n".join(lines) + "\n"


def test_the_graph_is_the_one_that_was_reviewed() -> None:
    found = lineage()
    if os.environ.get("LINEAGE_WRITE"):
        GOLDEN.write_text(found, encoding="utf-8")
    assert found == GOLDEN.read_text(encoding="utf-8"), (
        "the lineage changed; when that is meant: "
        "LINEAGE_WRITE=1 .venv/bin/pytest mlops_assets_tests/test_lineage.py"
    )
