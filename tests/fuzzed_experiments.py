"""Experiment files that are wrong at random: valid ones with a few changes, all by seed."""

import copy
import datetime
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import yaml
from test_killed_runs import EXPERIMENT as SUBWAY

from rllib_calsheq.algorithm.networks import NETWORK_FIELDS
from rllib_calsheq.algorithm.rllib_fields import FIELDS
from rllib_calsheq.calibrators import entries
from rllib_calsheq.envs import MarketConfig

EXAMPLES = Path(__file__).parents[1] / "tuned_examples"
EXPERIMENT_FILE, TARGET_FILE = "experiment.yaml", "targets.yaml"
#: Sizes of a stage of a few milliseconds, and of all that a configuration may say.
SMALL = {
    "num_particles": 4,
    "minibatch_size": 64,
    "num_epochs": 1,
    "gamma": 0.9,
    "lr_shared": {"initial": 1.0e-3, "exponent": 0.6, "offset": 200.0},
    "model_config": {"fcnet_hiddens": [8]},
    "calibrator": {
        "name": "ppo",
        "num_epochs": 1,
        "hidden_sizes": [8],
        "imagined_states": 8,
        "imagined_increments": 32,
        "kalman_gain": 1.0,
    },
}
#: What is known about the parameters of each environment.
MARKET_PARAMETERS = {
    "fixed": {"supertype_2.tolerance_variance": 0.02},
    "bounds": {"supertype_1.connection_1": [0.1, 0.9]},
    "ties": [["supertype_1.connection_2", "supertype_1.connection_3"]],
    "prior": {"supertype_1.tolerance": {"mean": 0.4, "std": 0.1}},
}
SUBWAY_PARAMETERS = {
    "bounds": {"suburbs.mean_distance": [0.5, 2.5]},
    "prior": {"inside.mean_distance": {"mean": 1.0}},
}
MARKET_SIZES = {
    "num_merchants": 2,
    "episode_length": 4,
    "customers_per_cluster": 20,
    "choice_rule": "logit",
    "supertypes": {"supertype_1.tolerance": 0.4},
}
#: Where changes are made; as often in each.
SECTIONS = (
    (),
    ("stop",),
    ("checkpoint_config",),
    ("config",),
    ("config", "env_config"),
    ("config", "targets"),
    ("config", "calibrator"),
    ("config", "parameters"),
)
#: What a value is replaced by.
VALUES = (
    None, True, False, 0, 1, -1, 2, 3.5, -0.5, 0.5, 10**30, 10**400, 1e308, -1e308, 1e-308,
    math.nan, math.inf, -math.inf, "", " ", "1e-3", "nan", "auto", "no such thing", "..x", "a.b.c",
    "Grüße ☃", "\x00", "x" * 300, b"\xff\xfe", datetime.date(2026, 1, 2), [], {}, [[]], [None],
    [1, "x", None], [0.5, 0.1], [-1, 10**30], {"a": {"b": 1}}, {1: 2}, {None: 0, "a": 1},
    {"grid_search": []}, {"grid_search": 3}, {"grid_search": [1, "x"]},
    5e-324, "xavier_uniform_", [10**6, 10**6],
)  # fmt: skip
#: What a number is replaced by.
NUMBERS = (
    0, 1, 2, 3, 7, -1, 10**6, 10**30, 0.0, 1e-308, 1e-30, 1e-3, 0.3, 1.0, 30.0, 1e8, 1e30, 1e308,
    -0.5, -1e308, math.inf, 5e-324,
)  # fmt: skip
#: Text of YAML in the place of a value, which no Python value is written as.
TEXTS = (
    "2026-13-45", "9" * 5000, "0x" + "f" * 5000, "!!python/object:os.system x", "&a [*a]", "*b",
    "!!int x", "!!float y", "!!binary é", "!!timestamp z", "[", "{a: b", '"\\xZZ"', "\t", "@", "%",
    "&a {b: *a}", "!!set {a, b}", "!!omap [a: 1]", "<<: 3", "? [a]\n: b",
)  # fmt: skip
#: How the whole file is spoilt: what it is called, and the bytes that become of its text.
FILES = {
    "utf-16": lambda text: text.encode("utf-16"),
    "latin-1": lambda text: ("# Grüße\n" + text).encode("latin-1"),
    "cut": lambda text: text[: len(text) // 2 + 1].encode(),
    "tabs": lambda text: text.replace("  ", "\t").encode(),
    "empty": lambda text: b"",
    "a list": lambda text: b"[1, 2]",
    "no experiments": lambda text: b"{}",
    "zeros": lambda text: b"\x00" * 10,
}
#: A key that is no text.
ODD_KEY = 7070
#: Words that are keys of much, so that a refusal that has only them says nothing.
VAGUE = {"grid_search", "value", "a", "None", "True", "0.5", "3", "7"}
#: In the place of a text of YAML while the rest is written.
MARK = "@@@"


@dataclass
class Case:
    """An experiment file, and what was changed in it.

    Attributes:
        seed: The seed that it follows from.
        files: Name and content of the experiment file and, maybe, of its target file.
        changes: What was changed, in words.
        names: Words of which a refusal must say one: changed keys, and what follows from them.
    """

    seed: int
    files: dict[str, bytes]
    changes: list[str]
    names: set[str]

    def write(self, folder):
        """Writes the files; returns the experiment file."""
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return folder / EXPERIMENT_FILE


def bases():
    """The valid experiments, by name."""
    market = yaml.safe_load((EXAMPLES / "calsheq.yaml").read_text(encoding="utf-8"))["calsheq"]
    targets = (EXAMPLES / market["config"]["targets"]).read_text(encoding="utf-8")
    own = {"env_config": MARKET_SIZES, "parameters": MARKET_PARAMETERS}
    market["config"] |= copy.deepcopy(SMALL | own) | {"targets": yaml.safe_load(targets)}
    subway = copy.deepcopy(SUBWAY)
    subway["config"] |= copy.deepcopy(SMALL | {"parameters": SUBWAY_PARAMETERS})
    return {"market": market, "subway": subway}


def make_case(seed):
    """The case of a seed: a change or two to one of the experiments."""
    rng = random.Random(seed)
    spec = rng.choice(list(bases().values()))
    changes, names, text = [], set(), None
    wanted = rng.choice((1, 1, 1, 2))
    while len(changes) < wanted:
        found = rng.choice(_OPERATIONS)(rng, spec, rng.choice(SECTIONS))
        if found is not None:
            changes.append(found[0])
            names |= found[1]
    if rng.random() < 0.06 and (path := _pick(rng, spec, rng.choice(SECTIONS))):
        text = rng.choice(TEXTS)
        changes.append(f"{_words(path)} becomes the text {text[:40]}")
        names |= _names(path) | {EXPERIMENT_FILE, TARGET_FILE}
        _set(spec, path, MARK)
    files = _files(rng, spec)
    if text is not None:
        files = {n: c.replace(f"'{MARK}'".encode(), text.encode()) for n, c in files.items()}
    if rng.random() < 0.04:
        name, how = rng.choice(list(files)), rng.choice(list(FILES))
        files[name] = FILES[how](files[name].decode())
        changes.append(f"{name} is spoilt: {how}")
        # What is missing then may be anything.
        names = {""}
    return Case(seed, files, changes, names - VAGUE)


def _files(rng, spec):
    """The experiment file, and for a third of the mappings of targets a file of their own."""
    files = {}
    config = spec.get("config")
    targets = config.get("targets") if isinstance(config, dict) else None
    if isinstance(targets, dict) and rng.random() < 0.3:
        files[TARGET_FILE] = _yaml(targets)
        config["targets"] = TARGET_FILE
    files[EXPERIMENT_FILE] = _yaml({"experiment": spec})
    return files


def _yaml(content):
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()


# --- changes: what was done and which keys it concerns, or None where there is nothing to do ---


def _replace(rng, spec, section):
    if not (path := _pick(rng, spec, section)):
        return None
    old = _get(spec, path)
    new = rng.choice(NUMBERS if isinstance(old, (int, float)) and rng.random() < 0.6 else VALUES)
    _set(spec, path, copy.deepcopy(new))
    return f"{_words(path)} becomes {new!r:.60}", _names(path) | _keys(old) | _keys(new)


def _rescale(rng, spec, section):
    path = _pick(rng, spec, section)
    old = _get(spec, path) if path else None
    if isinstance(old, bool) or not isinstance(old, (int, float)):
        return None
    new = rng.choice((old + 1, old - 1, 2 * old, 10 * old, 1000 * old, old / 2, old * 1e6, -old))
    new = int(new) if isinstance(old, int) else new
    _set(spec, path, new)
    return f"{_words(path)} becomes {new!r}", _names(path)


def _retype(rng, spec, section):
    if not (path := _pick(rng, spec, section)):
        return None
    old = _get(spec, path)
    kinds = [str, lambda v: [v], lambda v: {"value": v}, lambda v: {"grid_search": [v, v]}]
    if isinstance(old, (int, float)):
        kinds += [bool, lambda v: -v, lambda v: 10 * v + 0.5]
    if isinstance(old, Mapping):
        kinds += [list, lambda v: [list(item) for item in v.items()]]
    new = rng.choice(kinds)(old)
    _set(spec, path, new)
    return f"{_words(path)} becomes {new!r:.60}", _names(path) | _keys(old)


def _drop(rng, spec, section):
    if not (path := _pick(rng, spec, section)):
        return None
    old = _get(spec, path)
    del _get(spec, path[:-1])[path[-1]]
    return f"{_words(path)} is left out", _names(path) | _keys(old)


def _rename(rng, spec, section):
    path = _pick(rng, spec, section)
    if not path or not isinstance(path[-1], str):
        return None
    old, parent = path[-1], _get(spec, path[:-1])
    new = rng.choice((old[:-1], old.upper(), old + "_", "", ODD_KEY, None, True, f"__{old}"))
    parent[new] = parent.pop(old)
    # What is empty or no text can only be told by what it is a key of.
    said = {str(new)} if isinstance(new, str) and new else {f"field {new!r}", f"[{new!r}]"}
    return f"{_words(path)} is called {new!r}", _names(path) | said | _keys(parent[new])


def _swap(rng, spec, section):
    one, other = _pick(rng, spec, section), _pick(rng, spec, rng.choice(SECTIONS))
    if not one or not other or one[: len(other)] == other or other[: len(one)] == one:
        return None
    first, second = _get(spec, one), _get(spec, other)
    _set(spec, one, second)
    _set(spec, other, first)
    names = _names(one) | _names(other) | _keys(first) | _keys(second)
    return f"{_words(one)} and {_words(other)} are swapped", names


def _add(rng, spec, section):
    known = {
        ("config",): [*FIELDS, "sampling", "lr_ratio", "lr_cal", "profile_window", "seed",
                      "on_bad_episode", "assumption_2", "training", "num_workers", "callbacks"],
        ("config", "env_config"): [f.name for f in fields(MarketConfig)],
        ("config", "calibrator"): [
            f.name for entry in entries().values() if entry.config_class
            for f in fields(entry.config_class)
        ],
        ("config", "targets"): ["env_config", "ceiling", "profile", "source", "standard_errors"],
        ("stop",): ["calibration/targets_met", "time_total_s", "calibration/stage", "learners"],
        (): ["num_samples", "storage_path", "local_dir", "checkpoint_freq"],
    }  # fmt: skip
    if section == ("config",) and rng.random() < 0.2:
        section, known = ("config", "model_config"), {("config", "model_config"): [*NETWORK_FIELDS]}
    parent = _get(spec, section)
    if not isinstance(parent, dict):
        return None
    key = rng.choice([*known.get(section, ()), "unknown", ODD_KEY])
    parent[key] = value = copy.deepcopy(rng.choice(rng.choice((VALUES, NUMBERS))))
    path = (*section, key)
    return f"{_words(path)} is added: {value!r:.60}", _names(path) | _keys(value)


def _change_calibrator(rng, spec, section):
    calibrator = _get(spec, ("config", "calibrator"))
    if not isinstance(calibrator, dict):
        return None
    name = rng.choice(list(entries()))
    others = [f.name for f in fields(entries()[name].config_class or Case)]
    for field in [f for f in calibrator if f != "name" and f not in others]:
        del calibrator[field]
    calibrator["name"] = name
    spec["config"].pop("parameters", None)
    return f"the calibrator becomes {name}", {"calibrator", "prior", "particles"}


_OPERATIONS = (
    _replace, _replace, _rescale, _rescale, _retype, _drop, _rename, _swap, _add, _add, _add,
    _change_calibrator,
)  # fmt: skip

# --- paths ----------------------------------------------------------------------------------


def _pick(rng, spec, section):
    """The path of a value in a section: a key of it, or deeper, or None if there is none."""
    found, node = section, _get(spec, section)
    while isinstance(node, (dict, list)) and node:
        key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
        found, node = (*found, key), node[key]
        if section in ((), ("config",)) or rng.random() < 0.3:
            break
    return found if len(found) > len(section) else None


def _get(spec, path):
    for key in path:
        inside = isinstance(spec, dict) and key in spec
        inside = inside or (isinstance(spec, list) and isinstance(key, int) and key < len(spec))
        if not inside:
            return None
        spec = spec[key]
    return spec


def _set(spec, path, value):
    _get(spec, path[:-1])[path[-1]] = value


def _words(path):
    return ".".join(str(key) for key in path)


#: What a refusal may name instead of a key, since it follows from it.
_FOLLOWS = {
    "num_clusters": ("connection",),
    "percentiles": ("quantity_p",),
    "env": ("which the environment does not", "parameter(s)"),
    "weight": ("weights",),
    "max_half_spread": ("choice_temperature",),
    "max_tolerance_variance": ("the environment's range",),
    "targets": ("outcome", "target file"),
}


def _names(path):
    """The last two keys of a path, and what follows from the last."""
    keys = [str(key) for key in path if not isinstance(key, int) or key == ODD_KEY][-2:]
    return {*keys, *(word for key in keys for word in _FOLLOWS.get(key, ()))}


def _keys(value):
    """The keys at the top of a value."""
    return {str(key) for key in value} if isinstance(value, Mapping) else set()
