"""What bench/compare/run wrote, as rows: one a case and round. Used by tables.py and plots.py."""

import json
import statistics

STEADY = 0.15  # how far the two measurements of the bare line of one case may lie apart


class Missing(Exception):
    """No row has the number: the sentence says why."""


def load(folder, name):
    path = folder / f"{name}.jsonl"
    rows = [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []
    for row in rows:
        if "error" in row:
            row["not_run"] = row["error"]
            row.setdefault("peer", row["case"])
    return rows


def groups(rows, *keys):
    """Rows by these fields, in the order in which they first came."""
    found = {}
    for row in rows:
        found.setdefault(tuple(row.get(key, "") for key in keys), []).append(row)
    return found


def ran(rows):
    return [row for row in rows if "not_run" not in row]


def settled(rows):
    """Of round trips: those during which the processes did not move between cores; all, if all moved."""
    good = [row for row in ran(rows) if row.get("unsteady", 0) <= STEADY]
    return good or ran(rows)


def values(rows, *path):
    found = []
    for row in rows:
        for name in path:
            row = row.get(name) if isinstance(row, dict) else None
        if row is not None:
            found.append(row)
    return found


def median(rows, *path):
    """Over the rounds."""
    found = values(ran(rows), *path)
    if not found:
        raise Missing(next((row["not_run"] for row in rows if "not_run" in row), "nothing was measured"))
    return statistics.median(found)


def placements(rows):
    """The rows by how near the cores were, near ones first; what was not run stands with the first."""
    there = {cores: one for (cores,), one in groups(settled(rows), "cores").items()}
    absent = [row for row in rows if "not_run" in row]
    for one in groups(ran(rows), "peer", "how", "payload").values():
        if all(row["unsteady"] > STEADY for row in one) and there and one[0] not in there.get(one[0]["cores"], []):
            absent.append({**one[0], "not_run": "the cores changed meanwhile in every round"})
    order = sorted(there, reverse=True)
    return {cores: there[cores] + (absent if cores == order[0] else []) for cores in order} or {"": absent}


def label(row):
    return f"{row['peer']} ({row['how']})" if row.get("how") else row["peer"]
