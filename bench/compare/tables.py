"""The tables of report.py, as markdown."""

import json

import rows as r


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"


def table(head, lines):
    def line(cells):
        return "| " + " | ".join(cell if isinstance(cell, str) else number(cell) for cell in cells) + " |\n"

    padded = (list(cells) + [""] * (len(head) - len(cells)) for cells in lines)
    return line(head) + line(["---"] + ["---:"] * (len(head) - 1)) + "".join(map(line, padded)) + "\n"


def cells(start, numbers):
    """A line whose numbers may be missing."""
    try:
        return start + numbers()
    except r.Missing as why:
        return start + [f"no numbers: {why}"]


def beside(one, ours, *path):
    """The two medians' ratio; ours may not have been measured in these circumstances."""
    try:
        return r.median(one, *path) / r.median(ours, *path)
    except r.Missing:
        return ""


def head(folder, everything):
    """What the numbers depend on."""
    path = folder / "machine.json"
    if not path.exists():
        return ""
    on = json.loads(path.read_text())
    trips = [row for row in everything["transports"] if "cores" in row]
    near = sum(row["cores"] == "near" for row in trips if row["unsteady"] <= r.STEADY)
    steady = sum(row["unsteady"] <= r.STEADY for row in trips)
    rounds = max((len(one) for one in r.groups(everything["transports"], "case").values()), default=0)
    text = (f"{on['date']}: {on['cores']} {'virtual ' if on['virtual'] else ''}cores of {on['cpu']}, "
            f"{on['memory_gib']} GiB, Linux {on['kernel']}, {on['file_system']}. Medians of {rounds} interleaved "
            f"round{'s' if rounds != 1 else ''}; the two cores were near in {near} round trips and far in {steady - near}")
    if steady < len(trips):
        text += f", and {len(trips) - steady} more are left out because they changed meanwhile"
    return text + ". Debian's packages: " + ", ".join(f"{name} {one}" for name, one in on["versions"].items()) + ".\n\n"


def trips(everything, payloads):
    """Links in memory: a table for each placement of the two cores."""
    out = ""
    places = r.placements(everything["transports"])
    for cores, here in places.items():
        lines = []
        for payload in payloads:
            of_size = [row for row in here if row.get("payload") == payload]
            ours = [row for row in of_size if (row["peer"], row["how"]) == ("Penstock", "spinning")]
            for one in r.groups(of_size, "peer", "how").values():
                def numbers(one=one, ours=ours):
                    return [r.median(one, "trip", "p50_ns"), r.median(one, "trip", "p99_ns"), r.median(one, "ratio"),
                            beside(one, ours, "trip", "p50_ns"), r.median(one, "events_per_second"),
                            r.median(one, "gb_per_second")]
                lines.append(cells([r.label(one[0]), str(payload)], numbers))
        if not lines:
            continue
        if r.values(r.ran(here), "line", "p50_ns"):
            line = number(r.median(here, "line", "p50_ns"))
            out += f"Cores {cores} each other: the bare cache line's round trip has a p50 of {line} ns.\n\n"
        out += table(["in memory, two processes", "bytes", "round trip p50 ns", "p99 ns", "times the bare line",
                      "times Penstock's", "one way events/s", "GB/s"], lines)
    return out


def brokers(everything, payloads):
    rows = [row for row in everything["brokers"] if row.get("publishers", 1) == 1 and row.get("groups", 1) == 1]
    lines = []
    for payload in payloads:
        of_size = [row for row in rows if row.get("payload") == payload]
        ours = [row for row in of_size if row["peer"] == "Penstock"]
        for one in r.groups(of_size, "peer", "how").values():
            def numbers(one=one, ours=ours):
                return [r.median(one, "publish_one", "p50_ns") / 1e3, r.median(one, "publish_one", "p99_ns") / 1e3,
                        r.median(one, "publish_many_per_second"), r.median(one, "consume_per_second"),
                        r.median(one, "end_to_end", "events_per_second"),
                        beside(ours, one, "end_to_end", "events_per_second")]
            lines.append(cells([r.label(one[0]), str(payload)], numbers))
    disk = [row for row in everything["brokers"] if row.get("peer") == "bare disk"]
    out = ""
    if r.ran(disk):
        flush = number(r.median(disk, "flush", "p50_ns") / 1e3)
        out = f"The bare disk writes and flushes 4 KiB in {flush} µs (p50).\n\n"
    return out + table(["durable, one group (when an event counts)", "bytes", "one by one p50 µs", "p99 µs",
                        "pipelined events/s", "read and acked/s", "publish to ack events/s",
                        "Penstock's is … times that"], lines)


def failures(everything):
    """Cases that went wrong in some round: their numbers are of the others."""
    lines = {f"- {row['case']}: {row['error']}\n": None for rows in everything.values() for row in rows
             if "error" in row}
    return "Went wrong in some round:\n\n" + "".join(lines) + "\n" if lines else ""


def open_loop(everything):
    lines = []
    for (case,), one in r.groups(everything["open_loop"], "case").items():
        def numbers(one=one):
            names = ("p50_ns", "p90_ns", "p99_ns", "p999_ns", "p9999_ns", "max_ns")
            return [r.median(one, "delay", name) for name in names] + [max(r.values(one, "delay", "max_ns"))]
        lines.append(cells([case.replace("_", " ")], numbers))
    return table(["64 bytes, delay in ns", "p50", "p90", "p99", "p99.9", "p99.99", "max", "worst of all rounds"], lines)


def broker_growth(everything, what, other, title):
    rows = [row for row in everything["brokers"] if row.get(other) == 1 and row.get("payload") == 64]
    counts = sorted({row[what] for row in rows})
    lines = []
    for one in r.groups(rows, "peer", "how").values():
        line = [r.label(one[0])]
        for count in counts:
            here = [row for row in one if row[what] == count]
            line += cells([], lambda here=here: [r.median(here, "end_to_end", "deliveries_per_second")])
        lines.append(line)
    return table([title] + [str(count) for count in counts], lines)


def growth(everything):
    out = broker_growth(everything, "publishers", "groups", "deliveries/s, durable, by publishers")
    out += broker_growth(everything, "groups", "publishers", "deliveries/s, durable, by groups that get every event")
    lines = []
    for (case,), one in r.groups(everything["throughput"], "case").items():
        lines.append(cells([f"{one[0].get('producers', case)} to {one[0].get('readers', '')}"], lambda one=one: [
            r.median(one, "events_per_second"), r.median(one, "gb_per_second")]))
    out += table(["in memory, 64 bytes: producers to readers", "events/s", "GB/s"], lines)
    lines = []
    for (case,), one in r.groups(everything["scale"], "case").items():
        lines.append(cells([f"{one[0].get('topics', case):,} and {one[0].get('groups', 0):,}"], lambda one=one: [
            r.median(r.settled(one), "trip", "p50_ns"), r.median(r.settled(one), "ratio"),
            r.median(one, "attach", "p50_ns") / 1e3, r.median(one, "idle_daemon_cpu_percent")]))
    return out + table(["topics and groups there", "round trip p50 ns beside them", "times the bare line",
                        "attaching p50 µs", "idle daemon, % of a core"], lines)
