"""Prints the tables of run_scripts/pools.sh as one in Markdown: a row an arm, a column a pool, mean recall."""

import csv
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
POOLS = {
    "scenes20": "scenes, 20% wrong",
    "scenes60": "scenes, 60% wrong",
    "photos": "photos",
    "photos_swapped": "photos, 20% more swapped",
}


def main() -> None:
    for name in ("criteria", "recipes"):
        print("\n".join([*rows_of(name), ""]))


def rows_of(name: str) -> list[str]:
    """The lines of a comparison's table; of the pools that it has been run on."""
    found = {title: read(RESULTS / f"{pool}_{name}.csv") for pool, title in POOLS.items()}
    found = {title: arms for title, arms in found.items() if arms}
    if not found:
        return [f"({name}: no results in {RESULTS})"]
    arms = dict.fromkeys(arm for column in found.values() for arm in column)
    lines = [f"| {name} | {' | '.join(found)} |", f"| {' | '.join(['---'] * (len(found) + 1))} |"]
    return lines + [f"| {arm} | {' | '.join(column.get(arm, '') for column in found.values())} |" for arm in arms]


def read(path: Path) -> dict[str, str]:
    """Mean and deviation by arm, or why there is none; {} where there is no such file."""
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {row["arm"]: cell(row) for row in csv.DictReader(file)}


def cell(row: dict[str, str]) -> str:
    if not row.get("mean_recall"):
        return row["note"]
    return f"{float(row['mean_recall']):.1f} ± {float(row['mean_recall_deviation'] or 0):.1f}"


if __name__ == "__main__":
    main()
