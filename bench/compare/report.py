#!/usr/bin/python3
"""Tells what bench/compare/run measured: makes FOLDER/table.md and the plots beside it.

Each number is the median of the rounds; what was not run says why.
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

import rows
import tables

PROGRAMS = ("transports", "brokers", "open_loop", "throughput", "scale")
PEERS = ("iceoryx", "libboost-dev", "libzmq3-dev", "redis-server", "nats-server")
MARKS = ("<!-- figures: bench/compare/run --into-readme -->\n", "<!-- end of figures -->\n")
PICTURES = {
    "latency": "Round trips of 64 bytes, by percentile",
    "throughput": "Throughput by payload",
    "open_loop": "Delay at fixed rates, by percentile",
    "growth": "Cost as producers, groups and topics grow",
}


def said(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def machine(directory):
    """What the numbers depend on; nothing that names the machine."""
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())
    versions = {name: said("dpkg-query", "-W", "-f", "${Version}", name) for name in PEERS}
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "cpu": cpu.group(1) if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "virtual": "hypervisor" in pathlib.Path("/proc/cpuinfo").read_text(),
        "memory_gib": round(int(memory.group(1)) / 2**20),
        "kernel": platform.release().split("-")[0],
        "file_system": said("findmnt", "-n", "-o", "FSTYPE", "-T", directory),
        "versions": {name: version for name, version in versions.items() if version},
    }


def whole(folder, everything):
    payloads = sorted({row["payload"] for row in everything["transports"] if "payload" in row})
    return ("# Penstock beside others\n\n" + tables.head(folder, everything) + tables.failures(everything)
            + "## In memory\n\n" + tables.trips(everything, payloads)
            + "## Durable, grouped, acked\n\n" + tables.brokers(everything, [64, 1024])
            + "## At fixed rates\n\n" + tables.open_loop(everything)
            + "## As producers, groups and topics grow\n\n" + tables.growth(everything)).rstrip("\n") + "\n"


def summary(folder, everything, pictures):
    """The README's section; the pictures' folder as seen from there."""
    shown = "\n".join(f"![{text}]({pictures}/{name}.svg)" for name, text in PICTURES.items())
    return (tables.head(folder, everything) + tables.failures(everything) + tables.trips(everything, [64])
            + tables.brokers(everything, [64]) + shown + "\n")


def put_into(readme, text):
    before, rest = readme.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    readme.write_text(before + MARKS[0] + "\n" + text + "\n" + MARKS[1] + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path, help="with what was measured")
    parser.add_argument("--summary", action="store_true", help="print the README's section instead")
    parser.add_argument("--readme", type=pathlib.Path, help="put that section between the marks there too")
    parser.add_argument("--machine", action="store_true",
                        help="print what the numbers depend on instead; the folder is one on the disk that is measured")
    given = parser.parse_args()
    if given.machine:
        print(json.dumps(machine(given.folder), indent=2))
        return
    everything = {name: rows.load(given.folder, name) for name in PROGRAMS}
    root = given.readme.resolve().parent if given.readme else pathlib.Path.cwd()
    text = summary(given.folder, everything, os.path.relpath(given.folder.resolve(), root))
    if given.summary:
        print(text, end="")
        return
    (given.folder / "table.md").write_text(whole(given.folder, everything))
    if given.readme:
        put_into(given.readme, text)
    try:
        import plots
    except ImportError as error:
        sys.exit(f"report.py: no plots: {error}")
    plots.draw(everything, given.folder)


if __name__ == "__main__":
    main()
