#!/usr/bin/python3
"""Tells what bench/compare/run measured.

usage: report.py FOLDER [--summary] [--readme README]
       report.py --machine DIRECTORY

Writes FOLDER/table.md and the plots beside it. --summary prints the README's section of figures instead; --readme
puts it between the marks there. --machine prints what the numbers depend on, as JSON; the directory is the one whose
disk is measured. Each number is the median of the rounds; what was not run says why.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import subprocess
import sys

import rows as r

MARKS = ("<!-- figures: bench/compare/run --into-readme -->\n", "<!-- end of figures -->\n")
PEERS = ["iceoryx", "libboost-dev", "libzmq3-dev", "redis-server", "nats-server"]


def said(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def machine(directory):
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text()).group(1))
    versions = {name: said("dpkg-query", "-W", "-f", "${Version}", name) for name in PEERS}
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "cpu": cpu.group(1) if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "virtual": said("systemd-detect-virt") not in ("", "none"),
        "memory_gib": round(memory / 2**20),
        "kernel": platform.release(),
        "file_system": said("stat", "-f", "-c", "%T", directory),
        "versions": {name: version for name, version in versions.items() if version},
    }


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"


def table(head, lines, left=1):
    out = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * left + ["---:"] * (len(head) - left)) + " |"]
    for line in lines:
        cells = list(line) + [""] * (len(head) - len(line))
        out.append("| " + " | ".join(cell if isinstance(cell, str) else number(cell) for cell in cells) + " |")
    return "\n".join(out) + "\n"


def cells(start, numbers):
    """A line whose numbers may be missing."""
    try:
        return start + numbers()
    except r.Missing as why:
        return start + [f"not run: {why}"]


def head(folder, everything):
    path = folder / "machine.json"
    if not path.exists():
        return ""
    on = json.loads(path.read_text())
    versions = ", ".join(f"{name} {version}" for name, version in on["versions"].items())
    trips = [row for row in everything["transports"] if "cores" in row]
    steady = [row for row in trips if row["unsteady"] <= r.STEADY]
    near = sum(row["cores"] == "near" for row in steady)
    rounds = max((len(one) for one in r.groups(everything["transports"], "case").values()), default=0)
    places = "near" if near == len(steady) else "far" if near == 0 else f"near in {near} and far in {len(steady) - near} cases"
    return (
        f"{on['date']}, {on['cores']} {'virtual ' if on['virtual'] else ''}cores of {on['cpu']}, {on['memory_gib']} GiB, "
        f"Linux {on['kernel']}, {on['file_system']}; medians of {rounds} interleaved rounds. The two cores were {places}"
        + (f"; {len(trips) - len(steady)} of {len(trips)} round trips moved between cores and are left out" if len(trips) > len(steady) else "")
        + f". Debian's packages: {versions}.\n"
    )


def trips(everything, payloads):
    """Links in memory: a table for each placement of the two cores."""
    out = ""
    places = r.placements(everything["transports"])
    for cores, here in places.items():
        lines = []
        for payload in payloads:
            of_size = [row for row in here if row.get("payload") == payload]
            ours = [row for row in of_size if row["peer"] == "Penstock"]
            for (name, _), one in r.groups(of_size, "peer", "how").items():
                def numbers(one=one, ours=ours):
                    p50 = r.median(one, "trip", "p50_ns")
                    best = min(r.median(mine, "trip", "p50_ns") for mine in r.groups(ours, "how").values()) if ours else p50
                    return [p50, r.median(one, "trip", "p99_ns"), r.median(one, "ratio"), p50 / best,
                            r.median(one, "events_per_second"), r.median(one, "gb_per_second")]
                lines.append(cells([r.label(one[0]), str(payload)], numbers))
        title = f"Cores {cores} each other. " if len(places) > 1 else ""
        line = r.values(r.ran(here), "line", "p50_ns")
        out += f"{title}The bare cache line's round trip: p50 {number(r.median(here, 'line', 'p50_ns'))} ns.\n\n" if line else ""
        out += table(["in memory, two processes", "bytes", "round trip p50 ns", "p99 ns", "times the bare line",
                      "times Penstock", "one way events/s", "GB/s"], lines) + "\n"
    return out


def brokers(everything, payloads):
    lines = []
    rows = [row for row in everything["brokers"] if row.get("publishers", 1) == 1 and row.get("groups", 1) == 1]
    for payload in payloads:
        of_size = [row for row in rows if row.get("payload") == payload]
        ours = [row for row in of_size if row["peer"] == "Penstock"]
        for one in r.groups(of_size, "peer", "how").values():
            def numbers(one=one, ours=ours):
                whole = r.median(one, "end_to_end", "events_per_second")
                return [r.median(one, "publish_one", "p50_ns") / 1e3, r.median(one, "publish_one", "p99_ns") / 1e3,
                        r.median(one, "publish_many_per_second"), r.median(one, "consume_per_second"), whole,
                        r.median(ours, "end_to_end", "events_per_second") / whole]
            lines.append(cells([r.label(one[0]), str(payload)], numbers))
    disk = [row for row in everything["brokers"] if row.get("peer") == "bare disk"]
    flush = f"The bare disk: 4 KiB written and flushed in {number(r.median(disk, 'flush', 'p50_ns') / 1e3)} µs (p50).\n\n" if r.ran(disk) else ""
    failed = [f"- {row['case']}: not run: {row['not_run']}\n" for row in everything["brokers"] if "error" in row]
    return flush + table(["durable, one group (when an event counts)", "bytes", "one by one p50 µs", "p99 µs", "pipelined events/s",
                          "read and acked/s", "publish to ack, events/s", "Penstock is … times that"], lines) + \
        ("\n" + "".join(dict.fromkeys(failed)) if failed else "") + "\n"


def open_loop(everything):
    lines = []
    for (case,), one in r.groups(everything["open_loop"], "case").items():
        def numbers(one=one):
            percentiles = [r.median(one, "delay", f"{name}_ns") for name in ("p50", "p90", "p99", "p999", "p9999")]
            return percentiles + [r.median(one, "delay", "max_ns"), max(r.values(one, "delay", "max_ns"))]
        lines.append(cells([case.replace("_", " ")], numbers))
    return table(["open loop, delay in ns", "p50", "p90", "p99", "p99.9", "p99.99", "max", "worst of all rounds"], lines) + "\n"


def growth(everything):
    out = []
    for what, title in (("publishers", "durable, publishers"), ("groups", "durable, groups, each given every event")):
        other = "groups" if what == "publishers" else "publishers"
        rows = [row for row in everything["brokers"] if row.get(other) == 1 and row.get("payload") == 64]
        counts = sorted({row[what] for row in rows})
        lines = []
        for one in r.groups(rows, "peer", "how").values():
            line = [r.label(one[0])]
            for count in counts:
                line += cells([], lambda: [r.median([row for row in one if row[what] == count], "end_to_end", "deliveries_per_second")])
            lines.append(line)
        out.append(table([f"{title}: deliveries/s"] + [str(count) for count in counts], lines))
    lines = []
    for (case,), one in r.groups(everything["throughput"], "case").items():
        lines.append(cells([f"{one[0].get('producers', case)} to {one[0].get('readers', '')}"],
                           lambda: [r.median(one, "events_per_second"), r.median(one, "gb_per_second")]))
    out.append(table(["in memory, 64 bytes: producers to readers", "events/s", "GB/s"], lines))
    lines = []
    for (case,), one in r.groups(everything["scale"], "case").items():
        lines.append(cells([f"{one[0].get('topics', case):,} and {one[0].get('groups', 0):,}"], lambda: [
            r.median(r.settled(one), "trip", "p50_ns"), r.median(r.settled(one), "ratio"),
            r.median(one, "attach", "p50_ns") / 1e3, r.median(one, "idle_daemon_cpu_percent")]))
    out.append(table(["topics and groups there", "round trip p50 ns beside them", "times the bare line",
                      "attaching p50 µs", "idle daemon, % of a core"], lines))
    return "\n".join(out)


def summary(folder, everything, pictures):
    shown = "".join(f"![{text}]({pictures}/{name}.svg)\n" for name, text in (
        ("latency", "Round trips of 64 bytes"), ("throughput", "Throughput by payload"),
        ("open_loop", "Delay at fixed rates"), ("growth", "As producers, groups and topics grow")))
    return (head(folder, everything) + "\n" + trips(everything, [64]) + brokers(everything, [64]) + shown)


def into(readme, text):
    before, rest = readme.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    readme.write_text(before + MARKS[0] + "\n" + text + "\n" + MARKS[1] + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, nargs="?")
    parser.add_argument("--summary", action="store_true")
    parser.add_argument("--readme", type=pathlib.Path)
    parser.add_argument("--machine", metavar="DIRECTORY")
    given = parser.parse_args()
    if given.machine:
        print(json.dumps(machine(given.machine), indent=2))
        return
    if not given.folder:
        parser.error("which folder?")
    everything = {name: r.load(given.folder, name) for name in ("transports", "brokers", "open_loop", "throughput", "scale")}
    start = given.readme.resolve().parent if given.readme else pathlib.Path.cwd()
    text = summary(given.folder, everything, os.path.relpath(given.folder.resolve(), start))
    if given.summary:
        print(text, end="")
        return
    payloads = sorted({row["payload"] for row in everything["transports"] if "payload" in row})
    (given.folder / "table.md").write_text(
        "# Penstock beside others\n\n" + head(given.folder, everything) + "\n## In memory\n\n" + trips(everything, payloads)
        + "## Durable, grouped, acked\n\n" + brokers(everything, [64, 1024])
        + "## At fixed rates\n\n" + open_loop(everything) + "## Growth\n\n" + growth(everything))
    if given.readme:
        into(given.readme, text)
    try:
        import plots
    except ImportError as error:
        sys.exit(f"report.py: no plots: {error}")
    plots.draw(everything, given.folder)


if __name__ == "__main__":
    main()
