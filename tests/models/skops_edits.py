"""skops files whose schema was edited, and what is said of them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastadv import InputError
from fastadv.models.adapters.skops_file import read

skops = pytest.importorskip("skops.io")


def dumped(model: Any, path: Path, edit: Callable[[Any], None] | None = None) -> Path:
    """Write a model, its schema edited."""
    with zipfile.ZipFile(io.BytesIO(skops.dumps(model))) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "schema.json" and edit is not None:
                schema = json.loads(content)
                edit(schema)
                content = json.dumps(schema).encode()
            new.writestr(name, content)
    return path


def refused(path: Path) -> str:
    """What is said of a file: one line, that names it."""
    with pytest.raises(InputError) as error:
        read(path)
    line = str(error.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    return line.removeprefix(str(path))
