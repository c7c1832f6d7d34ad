"""What repairs of a set have changed: which samples were lost, and which stand in for them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from lavis_tldr.files import write_whole

REPAIR_PLAN = "repaired.json"


@dataclass(frozen=True)
class Repairs:
    """Attributes:
    replaced: Key of each lost sample, and of its stand-in or "".
    passed_over: Understudies whose own image was lost when their turn came.
    """

    replaced: dict[str, str] = field(default_factory=dict)
    passed_over: frozenset[str] = frozenset()

    @classmethod
    def load(cls, folder: Path) -> Repairs:
        """Those of a set; none where it was never repaired.

        Raises:
            ValueError: If the file that tells them is damaged.
        """
        path = folder / REPAIR_PLAN
        if not path.is_file():
            return cls()
        try:
            plan = json.loads(path.read_text(encoding="utf-8"))
            return cls(dict(plan["replaced"]), frozenset(plan["understudies_lost"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} should say which images were replaced, and can't be read ({type(error).__name__}: {error}): "
                "restore it; or delete it, run `lavis-tldr reduce` with `--restart ledger`, and then `lavis-tldr "
                "repair` anew."
            ) from error

    def save(self, folder: Path) -> None:
        """Write them into a set's folder."""
        plan = {"replaced": self.replaced, "understudies_lost": sorted(self.passed_over)}
        with write_whole(folder / REPAIR_PLAN) as path:
            path.write_text(json.dumps(plan, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def counts(self) -> dict[str, int]:
        """How many kept samples were ``lost``, ``replaced`` and left ``without_stand_in``."""
        without = sum(not stand_in for stand_in in self.replaced.values())
        return {"lost": len(self.replaced), "replaced": len(self.replaced) - without, "without_stand_in": without}

    def stand_ins(self, key: str) -> list[str]:
        """Who has stood in for a lost sample, one after the other; the last may be lost as well."""
        found = []
        while key := self.replaced.get(key, ""):
            found.append(key)
        return found
