"""The order in which failing services are healed: what others need first, then by category. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from contracts.services import Snapshot

_RANK = {"infrastructure": 0, "ai": 1, "monitoring": 2}


def rank_of(snapshot: Snapshot | None) -> int:
    """Return how late the service's category comes; others are as infrastructure."""
    return _RANK.get(snapshot.category, 0) if snapshot is not None else 0


def find_rings(needs: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Return the groups of services that need each other in a ring, each sorted by name."""
    reach = {name: _reached_from(name, needs) for name in needs}
    rings = {
        tuple(sorted({name} | {other for other in reach[name] if name in reach.get(other, ())}))
        for name in needs
        if name in reach[name]
    }
    return sorted(rings)


def _reached_from(name: str, needs: Mapping[str, Sequence[str]]) -> set[str]:
    """Return what `name` needs, directly or not; itself only where there is a ring."""
    seen: set[str] = set()
    todo = list(needs.get(name, ()))
    while todo:
        one = todo.pop()
        if one not in seen:
            seen.add(one)
            todo.extend(needs.get(one, ()))
    return seen


def blocked_by(name: str, needs: Mapping[str, Sequence[str]], is_well: Callable[[str], bool]) -> str | None:
    """Return a service that `name` needs and that is not well; one that needs `name` too blocks nothing."""
    for need in needs.get(name, ()):
        if need != name and not is_well(need) and name not in _reached_from(need, needs):
            return need
    return None


def heal_order(
    due: Iterable[str], snapshots: Mapping[str, Snapshot | None], needs: Mapping[str, Sequence[str]]
) -> list[str]:
    """Sort due services: those that others of them need first, then by category, then by name."""
    names = sorted(due)

    def rank(name: str) -> tuple[int, int, str]:
        dependants = sum(1 for other in names if other != name and name in _reached_from(other, needs))
        return (rank_of(snapshots.get(name)), -dependants, name)

    return sorted(names, key=rank)
