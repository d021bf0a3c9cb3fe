"""Rings in order, a time budget for each, and an honest account of what was left out.

A pytest plugin, registered by tests/conftest.py. A test belongs to the ring whose folder it is in.
"""

import os
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.needs import DOES_NOT_APPLY, LEFT_OUT, in_ci

SLOWEST_SHOWN = 5
TESTS = Path(__file__).resolve().parent.parent


class Rings:
    """Sort the rings from fast to slow, add up their time, fail the session over a broken promise.

    `budgets` is ring -> seconds, in the order in which the rings run. POINTSMAN_TEST_PACE stretches all
    budgets, for machines slower than CI's.
    """

    def __init__(self, budgets: dict[str, float]) -> None:
        pace = float(os.environ.get("POINTSMAN_TEST_PACE", "1"))
        self.budgets = {ring: seconds * pace for ring, seconds in budgets.items()}
        self.spent: dict[str, float] = defaultdict(float)
        self.durations: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.left_out: dict[str, int] = defaultdict(int)
        self.skipped: dict[str, int] = defaultdict(int)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        order = {ring: position for position, ring in enumerate(self.budgets)}
        items.sort(key=lambda item: order.get(ring_of(item.path), len(order)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        ring = report.nodeid.removeprefix("tests/").split("/", 1)[0]
        if ring in self.budgets:
            self.spent[ring] += report.duration
            self.durations[ring][report.nodeid] += report.duration
        self._account(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._account(report)

    def _account(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if reason.startswith(LEFT_OUT):
            self.left_out[reason.removeprefix(LEFT_OUT)] += 1
        elif not reason.startswith(DOES_NOT_APPLY):
            self.skipped[reason] += 1

    def over_budget(self) -> list[str]:
        """Name the rings that took longer than they may."""
        return [ring for ring, budget in self.budgets.items() if self.spent.get(ring, 0) > budget]

    def broken(self) -> bool:
        """Tell whether this session must not count as passed."""
        return bool(self.over_budget() or (in_ci() and (self.left_out or self.skipped)))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus == pytest.ExitCode.OK and self.broken():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        write = terminalreporter.write_line
        if self.spent:
            terminalreporter.section("rings")
        for ring, budget in self.budgets.items():
            if ring not in self.spent:
                continue
            over = self.spent[ring] > budget
            line = (
                f"{ring:<12} {len(self.durations[ring]):>5} tests {self.spent[ring]:>7.1f} s of {budget:g} s"
            )
            write(line + ("   OVER ITS BUDGET" if over else ""), red=over)
            if over:
                slowest = sorted(self.durations[ring].items(), key=lambda pair: -pair[1])[:SLOWEST_SHOWN]
                for nodeid, seconds in slowest:
                    write(f"    {seconds:6.1f} s  {nodeid}")
        if self.left_out or self.skipped:
            terminalreporter.section("LEFT OUT on this machine", sep="!", yellow=True, bold=True)
            for reason, count in sorted({**self.left_out, **self.skipped}.items()):
                write(f"{count:>5} tests: {reason}", yellow=True)
            if in_ci():
                write("CI leaves nothing out: this session FAILED", red=True, bold=True)


def ring_of(path: Path) -> str:
    """Name the ring that a test file is in; empty for a file outside the rings."""
    return path.relative_to(TESTS).parts[0] if path.is_relative_to(TESTS) else ""
