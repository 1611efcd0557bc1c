"""Timing side by side: every contender in turn, so that ratios hold on a noisy machine."""

import argparse
import json
import os
import time

# Before NumPy and torch: one thread each, as an env runner or a trial has on a cluster.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("CALSHEQ_NUM_THREADS", "1")
os.environ.setdefault("RAY_DEDUP_LOGS", "1")


def interleave(contenders, rounds, clock=time.perf_counter):
    """Seconds of each contender in each round: ``{name: [seconds]}`` for ``{name: function}``."""
    seconds = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, function in contenders.items():
            start = clock()
            function()
            seconds[name].append(clock() - start)
    return seconds


def time_calls(owner, method, clock=time.perf_counter):
    """Collects the seconds of every call of a method, in a list that it returns."""
    seconds, original = [], getattr(owner, method)

    def timed(*args, **kwargs):
        start = clock()
        try:
            return original(*args, **kwargs)
        finally:
            seconds.append(clock() - start)

    setattr(owner, method, timed)
    return seconds


def spread(values):
    """``{median, low, high}`` of some numbers."""
    ordered = sorted(values)
    return {"median": ordered[len(ordered) // 2], "low": ordered[0], "high": ordered[-1]}


def ratios(numerator, denominator):
    """Spread of round-by-round ratios of two lists of seconds."""
    return spread([a / b for a, b in zip(numerator, denominator, strict=True)])


def parser(text):
    made = argparse.ArgumentParser(description=text)
    made.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    made.add_argument("--rounds", type=int, default=5, help="rounds of all contenders (default: 5)")
    return made


def show(found, as_json):
    """Prints what was found, as JSON or as aligned lines."""
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        if isinstance(value, dict) and "median" in value:
            value = f"{value['median']:.4g}  ({value['low']:.4g} to {value['high']:.4g})"
        print(f"{key:28} {value}")


def quiet():
    """Keeps Ray's warnings out of the figures."""
    import logging
    import warnings

    logging.getLogger("ray").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
