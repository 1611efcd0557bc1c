"""Runs that are asked to stop: every trial is saved where it is, and nothing is finished.

Tune's own way, on SIGINT, kills all trials where they are. Here a signal is noted and a scheduler
pauses each trial when its stage ends, which saves it; then Tune is told to end, as by its own
signal. It counts paused trials as unfinished, so that a restored run goes on with them.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from ray.tune import Callback
from ray.tune.schedulers import FIFOScheduler

from rllib_calsheq.running.resuming import take_up

#: Signals that ask a run to stop: Ctrl-C, and what `kill`, `ray job stop` and batch systems send.
SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Seconds that a stop waits for the end of the trials' stages.
PATIENCE_S = 10.0
#: Seconds after which the process ends, whatever Tune is doing.
LIMIT_S = 14.0


class Stop:
    """Whether a signal asked to stop, and what is done about it.

    Args:
        go_on: The command that goes on with the run.

    Attributes:
        number: The signal; None as long as there was none.
        unsaved: ``{trial: stage}`` of those whose last finished stage is not saved.
    """

    def __init__(self, go_on: str) -> None:
        self.number: int | None = None
        self.unsaved: dict[str, int] = {}
        self._go_on = go_on
        self._since = 0.0
        self._trains = False

    def listen(self) -> None:
        """Takes the signals; to be called again after `ray.init`, which takes SIGTERM itself."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._handle)

    @contextmanager
    def training(self) -> Iterator[None]:
        """A block in which Tune trains with the `scheduler` and the `callback`.

        The first signal stops the trials, and the block ends the program once they are saved; a
        second one ends it at once, as the first one does outside of such blocks.

        Raises:
            SystemExit: At the block's end, if there was a signal; 128 and its number.
        """
        # Tune would take SIGINT from us, and kill the trials where they are.
        os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
        self.listen()
        self._trains = True
        try:
            yield
        finally:
            self._trains = False
        if self.number is not None:
            _say(self._last_words(self.number))
            raise SystemExit(128 + self.number)

    @property
    def is_due(self) -> bool:
        """Whether Tune is to end now: a signal came and all is saved, or has had its time."""
        if self.number is None:
            return False
        return not self.unsaved or time.monotonic() - self._since > PATIENCE_S

    def _handle(self, number: int, frame: Any) -> None:
        if not self._trains:
            self.number = number
            _say(self._last_words(number))
            raise SystemExit(128 + number)
        if self.number is not None:
            self._leave(number)
        self.number, self._since = number, time.monotonic()
        _say(
            f"stopping: every trial ends its stage and is saved, within {LIMIT_S:.0f} s; "
            "Ctrl-C again stops at once"
        )
        timer = threading.Timer(LIMIT_S, self._leave_if_training, [number])
        timer.daemon = True
        timer.start()

    def _leave_if_training(self, number: int) -> None:
        if self._trains:
            self._leave(number)

    def _leave(self, number: int) -> NoReturn:
        """Ends the process as it is, as a kill would; Ray's own processes see that and end, too."""
        _say(self._last_words(number))
        os._exit(128 + number)

    def _last_words(self, number: int) -> str:
        lines = [f"stopped by {signal.Signals(number).name}"]
        lines += [
            f"{trial}: its stages up to {stage} are done again from its last checkpoint on, since "
            "the stage under way took too long"
            for trial, stage in dict(self.unsaved).items()
        ]
        return "\n".join([*lines, f"go on with: {self._go_on}"])


@contextmanager
def stop_signals(go_on: str) -> Iterator[Stop]:
    """Takes the signals for a block.

    Args:
        go_on: The command that goes on with what the block does.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    stop = Stop(go_on)
    stop.listen()
    try:
        yield stop
    except SystemExit:
        if stop.number is None:
            raise
        # Ray makes an exit of its own of one that comes while it waits.
        raise SystemExit(128 + stop.number) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


class StopsAtStageEnds(FIFOScheduler):
    """Tune's own order of trials, until a signal comes: then each pauses when its stage ends.

    Args:
        stop: Where the signal is noted.
    """

    def __init__(self, stop: Stop) -> None:
        super().__init__()
        self._stop = stop

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Lets a trial of a resumed run go on from its last checkpoint that is whole."""
        take_up(trial)
        super().on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Goes on, or pauses, before which Tune saves the trial."""
        return str(self.CONTINUE if self._stop.number is None else self.PAUSE)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The next trial; none once there was a signal."""
        return super().choose_trial_to_run(tune_controller) if self._stop.number is None else None


class EndsWhenSaved(Callback):
    """Notes which trials are not saved, and ends Tune's loop when a stop is due.

    Args:
        stop: Where the signal is noted.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A stage that is not saved yet."""
        self._stop.unsaved[str(trial)] = int(result["training_iteration"])

    def on_trial_save(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """It is saved."""
        self._stop.unsaved.pop(str(trial), None)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """There is no need any more."""
        self._stop.unsaved.pop(str(trial), None)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """There is no way any more."""
        self._stop.unsaved.pop(str(trial), None)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Ends Tune's loop if that is due; Tune then notes the state of all trials."""
        if self._stop.is_due:
            # It would call each unfinished trial an error.
            logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
            signal.raise_signal(signal.SIGUSR1)


def command_line(program: str, words: Sequence[str], *more: str) -> str:
    """A command as its user called it, with words that it may not have yet."""
    return shlex.join([program, *words, *(word for word in more if word not in words)])


def _say(text: str) -> None:
    """Prints past Python's buffers, which whatever a signal interrupted may be writing to."""
    os.write(1, f"{text}\n".encode())
