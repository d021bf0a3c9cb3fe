"""What was measured, as tables: the median of the rounds with the least and the most, ratios, targets."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

Row = Mapping[str, float | None]


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return the value below which that share lies; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def show(value: float) -> str:
    """Return three figures that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


@dataclass(slots=True)
class Series:
    """The rows of all rounds, by who was measured, in the order of their first row."""

    rows: dict[str, list[Row]] = field(default_factory=dict)

    def add(self, who: str, row: Row) -> None:
        """Take one round's row."""
        self.rows.setdefault(who, []).append(row)

    def values(self, who: str, column: str) -> list[float]:
        """Return what the rounds gave."""
        found = (row.get(column) for row in self.rows.get(who, ()))
        return [value for value in found if value is not None]

    def median(self, who: str, column: str) -> float | None:
        """Return the median of the rounds."""
        values = self.values(who, column)
        return statistics.median(values) if values else None

    def best(
        self, column: str, among: Iterable[str], choose: Callable[[Iterable[float]], float]
    ) -> tuple[str, float] | None:
        """Return who of them has the best median, and that."""
        medians = {who: self.median(who, column) for who in among}
        known = {who: value for who, value in medians.items() if value is not None}
        if not known:
            return None
        best = choose(known.values())
        return next(who for who, value in known.items() if value == best), best

    def cell(self, who: str, column: str) -> str:
        """Return `median (least-most)`, the median alone of one round."""
        values = self.values(who, column)
        if not values:
            return "-"
        middle = show(statistics.median(values))
        return middle if len(values) == 1 else f"{middle} ({show(min(values))}-{show(max(values))})"


@dataclass(slots=True)
class Target:
    """A promise, what was found, and whether it holds; `found` None: not measured here."""

    what: str
    found: float | None
    bound: float
    at_least: bool = True
    unit: str = ""

    @property
    def kept(self) -> bool | None:
        """Say whether it holds."""
        if self.found is None:
            return None
        return self.found >= self.bound if self.at_least else self.found <= self.bound

    def line(self) -> str:
        """Return it as a row."""
        sign = "≥" if self.at_least else "≤"
        found = "not measured" if self.found is None else f"{show(self.found)}{self.unit}"
        word = {True: "yes", False: "**no**", None: "-"}[self.kept]
        return f"| {self.what} | {sign} {self.bound:g}{self.unit} | {found} | {word} |"


@dataclass(slots=True)
class Part:
    """One part's outcome."""

    title: str
    tables: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    #: Targets that a program of its own has judged.
    missed_elsewhere: list[str] = field(default_factory=list)

    @property
    def missed(self) -> list[str]:
        """Return the targets that do not hold."""
        return [target.what for target in self.targets if target.kept is False] + self.missed_elsewhere

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Add a table."""
        lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
        self.tables.append("\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]))

    def series(self, name: str, series: Series, columns: Mapping[str, str]) -> None:
        """Add a table of a series; `columns` maps keys to heads."""
        rows = [[who, *(series.cell(who, key) for key in columns)] for who in series.rows]
        self.table([name, *columns.values()], rows)

    def text(self) -> str:
        """Return the part in Markdown."""
        blocks = [f"### {self.title}", *self.tables]
        if self.targets:
            head = "| target | bound | found | kept |\n|---|---:|---:|---|"
            blocks.append("\n".join([head, *(target.line() for target in self.targets)]))
        if self.notes or self.left_out:
            said = [*self.notes, *(f"**LEFT OUT**: {what}" for what in self.left_out)]
            blocks.append("\n".join(f"- {line}" for line in said))
        return "\n\n".join(blocks)


def write_block(page: Path, text: str) -> None:
    """Put the text between the markers of a page. Raises ValueError where it has none."""
    found = page.read_text(encoding="utf-8")
    before, begin, rest = found.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no {BEGIN} … {END}")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
