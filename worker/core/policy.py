"""Defaults by category and what labels make of them; the numbers are the product's, stated in the docs."""

from dataclasses import dataclass

from worker.core.labels import ServiceLabels

#: category -> (grace s, base s, longest s, limit of failures); other categories are as infrastructure
DEFAULTS: dict[str, tuple[float, float, float, int]] = {
    "infrastructure": (15.0, 2.0, 60.0, 10),
    "ai": (60.0, 5.0, 300.0, 5),
    "monitoring": (30.0, 10.0, 600.0, 3),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """How one service is judged and healed. Times are seconds."""

    grace: float
    base: float
    longest: float
    limit: int
    disable_when_exhausted: bool
    heal: bool

    @property
    def clean_run(self) -> float:
        """Return how long a run must be clean before failures are forgotten."""
        return max(60.0, 10 * self.base)


def policy_for(labels: ServiceLabels, *, on_exhausted: str = "retry", self_heal: bool = True) -> Policy:
    """Return the policy of a service: its labels, else its category's defaults, else infrastructure's.

    Where one of the two delays is a label's and the other a default, the default gives way.
    """
    grace, base, longest, limit = DEFAULTS.get(labels.category, DEFAULTS["infrastructure"])
    if labels.backoff_base is not None:
        base, longest = labels.backoff_base, max(labels.backoff_base, longest)
    if labels.backoff_max is not None:
        base, longest = min(base, labels.backoff_max), labels.backoff_max
    return Policy(
        grace=labels.grace if labels.grace is not None else grace,
        base=base,
        longest=longest,
        limit=labels.max_failures if labels.max_failures is not None else limit,
        disable_when_exhausted=(labels.on_exhausted or on_exhausted) == "disable",
        heal=self_heal and labels.self_heal is not False,
    )
