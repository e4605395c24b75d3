"""The golden vectors of the repository, which all readers of the formats share."""

import copy
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "crates" / "proto" / "testdata"


def load(name: str) -> Any:
    """The vectors in that file."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def altered(document: Any, pointer: str, value: Any) -> Any:
    """A copy of the document with `value` at the JSON pointer."""
    result = copy.deepcopy(document)
    *parents, last = pointer.split("/")[1:]
    at = result
    for step in parents:
        at = at[int(step) if isinstance(at, list) else step]
    at[int(last) if isinstance(at, list) else last] = value
    return result
