"""Learning rates by stage and the two timescales of Assumption 2 (section 3)."""

from __future__ import annotations

import warnings
from typing import Literal

from rllib_calsheq.core.configuration import NonNegative, Positive, configuration


@configuration
class LearningRate:
    """A Robbins-Monro schedule β = initial · (1 + m / offset)^(-exponent) of m finished stages.

    Σ β_m diverges for exponent <= 1 and Σ β_m² converges for exponent > 1/2. With Adam,
    whose steps do not shrink with the gradient, this satisfies Assumption 2 in name; the
    theory it quotes is about plain stochastic approximation.

    Attributes:
        initial: Learning rate of the first stage, when m = 0.
        exponent: How fast it falls in the long run.
        offset: Stages after which it has fallen by a factor 2^(-exponent).
    """

    initial: Positive = 1e-3
    exponent: NonNegative = 0.6
    offset: Positive = 200.0

    def at(self, finished_stages: int) -> float:
        """The learning rate once m >= 0 stages are finished."""
        return self.initial * (1.0 + finished_stages / self.offset) ** -self.exponent

    @property
    def is_robbins_monro(self) -> bool:
        """Whether the rates sum to infinity and their squares do not."""
        return 0.5 < self.exponent <= 1.0


def check_assumption_2(
    shared: LearningRate, cal: LearningRate, on_break: Literal["refuse", "warn"]
) -> None:
    """Checks that both schedules are Robbins-Monro and β^cal/β^shared → 0 (Assumption 2).

    Args:
        shared: Schedule of the shared policy.
        cal: Schedule of the calibrator.
        on_break: Whether a pair that breaks the assumption is refused or warned about.

    Raises:
        ValueError: If it is broken and ``on_break`` is ``refuse``.
    """
    problems = [
        f"{name} has exponent {rate.exponent:g}, but Σβ = ∞ and Σβ² < ∞ need one in (0.5, 1]"
        for name, rate in (("lr_shared", shared), ("lr_cal", cal))
        if not rate.is_robbins_monro
    ]
    if cal.exponent <= shared.exponent:
        problems.append(
            f"lr_cal/lr_shared does not tend to 0, since lr_cal's exponent {cal.exponent:g} is "
            f"not above lr_shared's {shared.exponent:g}"
        )
    if not problems:
        return
    message = (
        f"the learning rates break Assumption 2: {'; '.join(problems)}. Choose exponents with "
        "0.5 < lr_shared < lr_cal <= 1, or set `assumption_2: warn` to go on regardless"
    )
    if on_break == "refuse":
        raise ValueError(message)
    warnings.warn(message, stacklevel=2)
