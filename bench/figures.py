"""One line of the benchmark's table, and the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEAD = ("figure", "ours", "baseline", "ratio", "goal", "ok?")
AS_FRACTION = 0.1
SHORT = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What was measured, ours and the baseline's in words, and the one number that is judged against the goal.

    `number` is nearly always a ratio to the baseline, without a unit, for which less is better; `at_least` turns
    that round. Without a goal the line is only for information; without a number it was skipped.
    """

    what: str
    ours: str = ""
    baseline: str = ""
    number: float | None = None
    goal: float | None = None
    at_least: bool = False
    unit: str = ""

    @classmethod
    def of_times(cls, what: str, ours: float, baseline: float, goal: float | None = None) -> Figure:
        """Two times, in seconds, and their ratio."""
        return cls(what=what, ours=_shown(ours), baseline=_shown(baseline), number=ours / baseline, goal=goal)

    @classmethod
    def skipped(cls, what: str, why: str) -> Figure:
        """A line that says why there is no figure."""
        return cls(what=what, ours=f"skipped: {why}")

    @property
    def missed(self) -> bool:
        """Whether it has a goal and does not reach it."""
        if self.number is None or self.goal is None:
            return False
        return self.number < self.goal if self.at_least else self.number > self.goal

    def cells(self) -> tuple[str, ...]:
        """The line's texts, in the order of HEAD."""
        sign = "≥" if self.at_least else "≤"
        goal = "" if self.goal is None else f"{sign} {self._shown(self.goal)}"
        verdict = "" if self.number is None or self.goal is None else ("missed" if self.missed else "yes")
        number = "" if self.number is None else self._shown(self.number)
        return (self.what, self.ours, self.baseline, number, goal, verdict)

    def _shown(self, number: float) -> str:
        if self.unit:
            return f"{number:.3g} {self.unit}"
        return f"1/{1 / number:,.0f}" if 0 < number < AS_FRACTION else f"{number:.3g}"


def _shown(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds >= SHORT else f"{seconds * 1000:.2f} ms"


def printed(figures: Sequence[Figure]) -> str:
    """The table for a terminal."""
    lines = [HEAD, *(figure.cells() for figure in figures)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines) + "\n"


def markdown(figures: Sequence[Figure]) -> str:
    """The table for the docs."""
    lines = [HEAD, ("---",) * len(HEAD), *(figure.cells() for figure in figures)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
