"""An experiment to vary, and what a command says when it refuses one."""

import copy

import yaml

from rllib_calsheq.data.experiment_files import load_experiments

SPEC = {
    "run": "CALSHEQ",
    "env": "rllib_calsheq.envs.SubwayEnv",
    "stop": {"training_iteration": 3},
    "config": {
        "targets": {"suburbs.subway_rate": 0.8, "inside.subway_rate": 0.2},
        "env_config": {"num_suburbs": 3, "num_inside": 2, "episode_length": 5},
        "num_particles": 8,
        "minibatch_size": 64,
    },
}


def spec(config=None, **keys):
    """`SPEC` with other keys, and other keys of its ``config``."""
    made = copy.deepcopy(SPEC)
    made["config"].update(config or {})
    return {**made, **keys}


def write(folder, content, name="experiment.yaml"):
    file = folder / name
    text = content if isinstance(content, str) else yaml.safe_dump({"experiment": content})
    file.write_text(text, encoding="utf-8")
    return file


def load_one(folder, content, overrides=()):
    (experiment,) = load_experiments(write(folder, content), list(overrides))
    return experiment


def refusal(capsys, main, words):
    """Runs a command that must refuse its input; returns the one paragraph that it prints."""
    assert main([str(word) for word in words]) == 2
    printed = capsys.readouterr()
    message = printed.err.strip()
    assert message.startswith("error: ")
    assert "\n\n" not in message
    assert "Traceback" not in printed.out + printed.err
    return " ".join(message.split())
