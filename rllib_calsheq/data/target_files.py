"""Target files: what is to be matched, the environment that it was made for, and what is known.

A target file is YAML with the key ``targets`` (see `TargetSet.from_mapping`) and optionally

* ``env_config``: fields of the environment that the targets were made for;
* ``ceiling``: the reward that can be reached, r_cal of single episodes at the hidden profile;
* ``reward_start``: r_cal of single episodes at Λ_0 with a policy trained there;
* ``profile``: the hidden profile, by parameter name;
* ``standard_errors``: standard error of each target;
* ``source``: where the targets come from, for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

import yaml

from rllib_calsheq.core.configuration import configuration, from_mapping
from rllib_calsheq.core.files import write_text
from rllib_calsheq.data.yaml_text import read_yaml


@configuration
class TargetFile:
    """The content of a target file; fields as in the module's text.

    Example:
        >>> from rllib_calsheq import TargetFile
        >>> TargetFile.load({"share": 0.3}).save("my_targets.yaml")
        >>> TargetFile.load("my_targets.yaml").targets
        {'share': 0.3}
    """

    targets: dict[str, Any]
    env_config: dict[str, Any] = field(default_factory=dict)
    ceiling: float | None = None
    reward_start: float | None = None
    profile: dict[str, float] | None = None
    standard_errors: dict[str, float] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, source: str | Path | Mapping[str, Any], folder: Path | None = None) -> TargetFile:
        """Reads a target file or its content; a bare mapping of targets is taken as ``targets``.

        Args:
            source: Path of a YAML file, or what such a file holds.
            folder: Where a relative path is looked for first; the working directory is next.

        Raises:
            ValueError: If the file is missing, is no YAML mapping, or has an unknown key.
        """
        if isinstance(source, (str, Path)):
            content = _read_yaml(Path(source), folder)
            what = f"target file {source}"
        else:
            content, what = source, "the targets"
        if not isinstance(content, Mapping):
            raise ValueError(f"{what} must be a mapping with the key `targets`, not {content!r}")
        if "targets" not in content:
            return cls(targets=dict(content))
        # An empty key of a YAML file is None.
        given = {k: v for k, v in content.items() if v is not None}
        return from_mapping(cls, {"targets": {}, **given}, what)

    def to_mapping(self) -> dict[str, Any]:
        """What the YAML file holds; empty fields are left out, but for the targets themselves."""
        given = {k: v for k, v in asdict(self).items() if v not in (None, {})}
        return {"targets": {}, **given}

    def save(self, path: str | Path, header: str = "") -> None:
        """Writes the file; lines of ``header`` become comments at its top."""
        comment = "".join(f"# {line}\n" for line in header.splitlines())
        text = yaml.safe_dump(
            self.to_mapping(), sort_keys=False, default_flow_style=None, width=100
        )
        write_text(path, comment + text)


def inline_targets(targets: Any, folder: Path | None = None) -> Any:
    """A configuration's ``targets`` with the content of a file in the place of its path.

    Args:
        targets: Path of a target file, its content, or ``{grid_search: [...]}`` of these.
        folder: Where a relative path is looked for first; the working directory is next.

    Raises:
        ValueError: As `TargetFile.load`.
    """
    if isinstance(targets, Mapping) and set(targets) == {"grid_search"}:
        return {"grid_search": [inline_targets(t, folder) for t in targets["grid_search"]]}
    return TargetFile.load(targets, folder).to_mapping()


def _read_yaml(path: Path, folder: Path | None) -> Any:
    candidates = (
        [path] if path.is_absolute() else [(folder or Path.cwd()) / path, Path.cwd() / path]
    )
    found = next((p for p in candidates if p.is_file()), None)
    if found is None:
        raise ValueError(
            f"there is no target file {path}; looked for "
            f"{[str(p) for p in dict.fromkeys(candidates)]}"
        )
    return read_yaml(found, f"target file {found}")
