"""YAML as a user wrote it: whatever is wrong with it is one error that says where."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

#: Largest integer that a number of the configuration may be compared with.
LARGEST_INTEGER = int(sys.float_info.max)


class _Loader(yaml.SafeLoader):
    """PyYAML's loader, whose conversions raise whatever Python's do, without a place."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        # As it is written, before what `<<` takes from elsewhere joins in, which may be overridden.
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.composer.ComposerError(
                    None, None, f"{key.value!r} stands there twice: leave one out", key.start_mark
                )
            seen.add(str(key.value))
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            found = super().construct_object(node, deep)
        except (yaml.YAMLError, RecursionError):
            raise
        except Exception as error:
            # Python's errors about a text help, those about its own objects do not.
            why = f": {error}".partition("; use sys.")[0] if isinstance(error, ValueError) else ""
            raise yaml.constructor.ConstructorError(
                None, None, f"a value is no {node.tag.rpartition(':')[2]}{why}", node.start_mark
            ) from None
        if isinstance(found, int) and abs(found) > LARGEST_INTEGER:
            raise yaml.constructor.ConstructorError(
                None, None, "an integer is beyond all numbers of a computer", node.start_mark
            )
        return found


def read_yaml(source: str | Path, what: str) -> Any:
    """What a file or a text of YAML holds.

    Args:
        source: Path of a UTF-8 file, or a text.
        what: What it is, the beginning of an error.

    Raises:
        ValueError: If it is no YAML, a value cannot be read, or one holds itself; the message has
            the line.
        OSError: If the file cannot be read.
    """
    try:
        text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
        found = yaml.load(text, _Loader)
        _check_ends(found, (), "")
    except RecursionError:
        raise ValueError(
            f"{what} is not valid YAML: it has more mappings and lists inside each other than can "
            "be read"
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        # PyYAML draws the place over several lines.
        raise ValueError(f"{what} is not valid YAML: {' '.join(str(error).split())}") from None
    return found


def _check_ends(value: Any, parents: tuple[int, ...], path: str) -> None:
    """Raises a ValueError if a mapping or list holds itself, as ``&a [*a]`` does."""
    if not isinstance(value, (dict, list)):
        return
    if id(value) in parents:
        raise ValueError(
            f"the alias (*) at {path[1:]} stands inside of what it stands for: write the value out"
        )
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        _check_ends(item, (*parents, id(value)), f"{path}.{key}")
