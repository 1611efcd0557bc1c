"""Ray's private and undocumented names: those we use are there, used by Ray, and in one place."""

import ast
import importlib
import inspect
import pkgutil
import textwrap
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from rllib_calsheq.learning.ray_private.names import RAY_NAMES, STORED_AS

ROOT = Path(__file__).resolve().parent.parent
#: Folders of sources, and the package that each is.
SOURCES = {
    "rllib_calsheq": "rllib_calsheq.",
    "envs": "rllib_calsheq.envs.",
    "callbacks": "rllib_calsheq.callbacks.",
    "benchmarks": "",
}
PRIVATE = "rllib_calsheq.learning.ray_private"
#: Methods of Ray's that its documentation tells users to override.
DOCUMENTED = {
    "build", "choose_trial_to_run", "environment", "get_checkpointable_components",
    "get_ctor_args_and_kwargs", "get_default_config", "get_state", "log_trial_start",
    "on_algorithm_init",
    "on_env_runners_recreated", "on_step_begin", "on_step_end", "on_train_result", "on_trial_add",
    "on_trial_complete", "on_trial_error", "on_trial_result", "on_trial_save", "reset",
    "reset_config", "restore_from_path", "rl_module", "save_to_path", "set_state", "setup", "step",
    "train", "update", "update_from_dict", "validate",
}  # fmt: skip


def is_private(name):
    return name.startswith("_") and not name.endswith("__") and name != "_abc_impl"


def is_rays(cls):
    return cls.__module__.split(".")[0] == "ray"


def rays_bases(cls):
    return [base for base in cls.__mro__ if is_rays(base)]


def find(path):
    """What a dotted path names: a module, or something in one, at any depth."""
    parts = path.split(".")
    for k in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        for part in parts[k:]:
            found = getattr(found, part)
        return found
    raise AttributeError(path)


@cache
def attributes_of(cls):
    """Names that a class defines or writes on its instances, without those of its bases."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    written = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and ast.unparse(node.value) == "self"
    }
    return written | set(vars(cls))


@cache
def names_used_in(module):
    """Variables that a module reads, and, with a dot, attributes of anything but ``super()``."""
    nodes = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(find(module))))
        if isinstance(node, (ast.Attribute, ast.Name)) and isinstance(node.ctx, ast.Load)
    ]
    return {node.id for node in nodes if isinstance(node, ast.Name)} | {
        f".{node.attr}"
        for node in nodes
        if isinstance(node, ast.Attribute) and not ast.unparse(node.value).startswith("super(")
    }


def has(owner, name, use):
    """Whether the owner has a name, as what it is used for."""
    if use == "answers":
        return True
    if use == "passes":
        return name in inspect.signature(owner).parameters
    if isinstance(owner, dict):
        return name in owner
    if use == "reads" and inspect.isclass(owner):
        return any(name in attributes_of(base) for base in rays_bases(owner))
    return callable(getattr(owner, name, None)) or (use != "calls" and hasattr(owner, name))


def complaint(ray_name):
    """What is wrong with a name in the Ray that is installed; nothing if it is as it was."""
    what = f"Ray renamed {ray_name.owner}.{ray_name.name} (seen in {ray_name.seen_in}): "
    try:
        owner = find(ray_name.owner)
    except AttributeError:
        return f"{what}there is no {ray_name.owner}; it is for {ray_name.why}"
    if not has(owner, ray_name.name, ray_name.use):
        return f"{what}it is not there; it is for {ray_name.why}"
    is_variable = inspect.ismodule(owner) and ray_name.use == "calls"
    used = ray_name.name if is_variable else f".{ray_name.name}"
    if ray_name.used_in and used not in names_used_in(ray_name.used_in):
        return f"{what}{ray_name.used_in} does not use it any more; it is for {ray_name.why}"
    return ""


def parameters(method):
    """Names of a method's parameters, and whether it takes any others.

    Read off its code: Ray adds parameters to the signatures of classes that became actors.
    """
    code = inspect.unwrap(method).__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return set(names), bool(code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS))


def parameter_complaint(ours, rays):
    """How a method's parameters differ from those of the one that it overrides, if they do."""
    (own, takes_any), (theirs, _) = parameters(ours), parameters(rays)
    if own - theirs:
        return f"no parameters {sorted(own - theirs)} any more"
    return f"new parameters {sorted(theirs - own)}" if theirs - own and not takes_any else ""


@cache
def our_classes():
    """All classes of the package that have a base of Ray's."""
    found = set()
    for name in ("rllib_calsheq", "rllib_calsheq.envs", "rllib_calsheq.callbacks"):
        for module in pkgutil.walk_packages(find(name).__path__, f"{name}."):
            found.update(filter(inspect.isclass, vars(find(module.name)).values()))
    ours = [c for c in found if c.__module__.startswith("rllib_calsheq.") and rays_bases(c)]
    return sorted(ours, key=lambda c: (c.__module__, c.__name__))


def overrides():
    """(class of ours, name, class of Ray's) of all that our classes override."""
    for cls in our_classes():
        for name in vars(cls):
            base = next((b for b in rays_bases(cls) if name in attributes_of(b)), None)
            if base is not None and not name.endswith("__") and name != "_abc_impl":
                yield cls, name, base


@cache
def private_names_of_ray():
    """Private names of all classes of Ray's that we extend, and all that are listed."""
    bases = {base for cls in our_classes() for base in rays_bases(cls)}
    listed = {n.name for n in RAY_NAMES}
    return {n for n in listed.union(*map(attributes_of, bases)) if is_private(n)}


def defined_in(tree):
    """Names that a source defines: functions, classes, variables, attributes."""
    return {
        getattr(node, "name", None) or getattr(node, "attr", None) or node.id
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        or (isinstance(node, (ast.Attribute, ast.Name)) and isinstance(node.ctx, ast.Store))
    }


def private_uses(tree, own_names, extending):
    """(line, name) of each private name of Ray's in a source.

    Args:
        tree: The source.
        own_names: Names that are defined somewhere in our sources.
        extending: Names of the classes in the source that have a base of Ray's.
    """
    rays = private_names_of_ray()
    other_modules = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.split(".")[0] != "ray"
    }
    plain = {
        part
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name not in extending
        for part in ast.walk(node)
    }
    pieces = {
        part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            of = ast.unparse(node.value)
            on_itself = of in ("self", "cls") or of.startswith("super(")
            if of in other_modules or (on_itself and node in plain):
                continue
            if node.attr in rays or (not on_itself and node.attr not in own_names):
                yield node.lineno, node.attr
        elif isinstance(node, ast.FunctionDef) and node not in plain and node.name in rays:
            yield node.lineno, node.name
        elif isinstance(node, ast.keyword) and node.arg and is_private(node.arg):
            yield node.value.lineno, node.arg
        elif isinstance(node, ast.Constant) and node.value in rays and node not in pieces:
            yield node.lineno, node.value
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ray":
            for name in [*node.module.split("."), *(alias.name for alias in node.names)]:
                if is_private(name):
                    yield node.lineno, name


@cache
def uses_by_module():
    """{module: its private names of Ray's}, each as (line, name), of all sources."""
    trees = {}
    for folder, package in SOURCES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            trees[package + ".".join(parts)] = ast.parse(path.read_text("utf-8"))
    own_names = set().union(*map(defined_in, trees.values()))
    return {
        module: list(
            private_uses(
                tree, own_names, {c.__name__ for c in our_classes() if c.__module__ == module}
            )
        )
        for module, tree in trees.items()
    }


@pytest.mark.parametrize("ray_name", RAY_NAMES, ids=lambda n: f"{n.owner.split('.')[-1]}.{n.name}")
def test_name_is_there_and_used_by_ray(ray_name):
    assert not complaint(ray_name), complaint(ray_name)


@pytest.mark.parametrize("ray_name", RAY_NAMES, ids=lambda n: f"{n.owner.split('.')[-1]}.{n.name}")
def test_a_rename_is_noticed(ray_name):
    renamed = replace(ray_name, name=ray_name.name + "_once")
    assert complaint(renamed).startswith(
        f"Ray renamed {ray_name.owner}.{ray_name.name}_once (seen in 2.60): "
    )


def test_a_hook_that_is_not_called_any_more_is_noticed():
    (hook,) = (n for n in RAY_NAMES if n.name == "_log_metrics")
    assert "does not use it any more" in complaint(
        replace(hook, used_in="ray.rllib.core.learner.torch.torch_learner")
    )


def test_an_owner_that_is_gone_is_noticed():
    (hook,) = (n for n in RAY_NAMES if n.name == "_log_metrics")
    assert complaint(replace(hook, owner=hook.owner + "s")).startswith("Ray renamed ")


def test_every_overridden_hook_says_who_calls_it():
    assert not [n for n in RAY_NAMES if n.use in ("overrides", "answers") and not n.used_in]


def test_methods_take_the_parameters_of_those_that_they_override():
    found = []
    for cls, name, base in overrides():
        ours, rays = getattr(cls, name), getattr(base, name, None)
        if callable(ours) and callable(rays) and parameter_complaint(ours, rays):
            found.append(f"{base.__name__}.{name} has {parameter_complaint(ours, rays)}")
    assert not found, f"Ray renamed parameters (seen in 2.60): {found}"


def test_renamed_parameters_are_noticed():
    def rays(self, *, training_data, size=None, **kwargs):
        """As Ray has it."""

    def old(self, *, training_data, minibatch_size=None, **kwargs):
        """Would take the new `size` as one of many and go without minibatches."""

    def strict(self, *, training_data):
        """Would be a TypeError."""

    assert "minibatch_size" in parameter_complaint(old, rays)
    assert "size" in parameter_complaint(strict, rays)
    assert not parameter_complaint(rays, rays)


def test_what_overrides_a_name_of_rays_is_meant_to():
    listed = {n.name for n in RAY_NAMES if n.use == "overrides"}
    unknown = {
        f"{cls.__module__}.{cls.__name__}.{name}"
        for cls, name, _ in overrides()
        if name not in listed | DOCUMENTED
    }
    assert not unknown, "Ray has these names, too: rename them, or list them in RAY_NAMES"


def test_private_names_of_rays_stand_in_one_place():
    elsewhere = {
        module: uses
        for module, uses in uses_by_module().items()
        if uses and not module.startswith(PRIVATE)
    }
    assert not elsewhere, "put them behind a name of ours in learning/ray_private"


@pytest.mark.parametrize(
    "source",
    [
        "def f(learner): return learner._params",
        "def f(tuner): tuner._anything_at_all.callbacks = []",
        "class Ours(Learner):\n    def _update(self, batch): return batch",
        "class Ours(Learner):\n    def f(self): return self._weights_seq_no",
        "def f(learner): learner.update(_no_metrics_reduce=True)",
        "def f(config): return getattr(config, '_rl_module_spec')",
        "from ray._private import services",
        "from ray.tune.impl.tuner_internal import _TUNER_PKL",
    ],
)
def test_a_private_name_elsewhere_is_found(source):
    tree = ast.parse(source)
    assert list(private_uses(tree, defined_in(tree), {"Ours"}))


def test_own_private_names_are_left_alone():
    tree = ast.parse("class Mine:\n    def f(self):\n        self._params = os._exit\nimport os")
    assert not list(private_uses(tree, defined_in(tree), set()))


def test_the_list_holds_what_is_used_and_no_more():
    used = {
        name
        for module, uses in uses_by_module().items()
        if module.startswith(PRIVATE) and not module.endswith(".names")
        for _, name in uses
    } | set(STORED_AS.values())
    assert used == {n.name for n in RAY_NAMES if is_private(n.name)}
    assert len({(n.owner, n.name) for n in RAY_NAMES}) == len(RAY_NAMES)
