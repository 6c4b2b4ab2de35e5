#!/usr/bin/python3
"""usage: report.py FOLDER: makes FOLDER/table.md and plots of what run wrote there.

Each number is the median of a peer's rounds; what was not run says why. A latency is told as a multiple of the bare
cache line of its own run too, because that is what carries over to other machines.
"""

import json
import pathlib
import statistics
import sys


def load(path):
    """Rounds by (peer, how, payload), in the order in which they first came."""
    groups = {}
    for text in path.read_text().splitlines() if path.exists() else []:
        row = json.loads(text)
        if "error" in row:
            row["not_run"] = row["error"]
        key = (row.get("peer", row["case"]), row.get("how", ""), row.get("payload", 0))
        groups.setdefault(key, []).append(row)
    return groups


def median(rows, *path):
    values = []
    for row in rows:
        for name in path:
            row = row[name]
        values.append(row)
    return statistics.median(values)


def table(groups):
    lines = [
        "| peer | payload | round trip p50 ns | p99 ns | times the bare line | events/s | GB/s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (peer, how, payload), rows in sorted(groups.items(), key=lambda item: item[0][2]):
        ran = [row for row in rows if "not_run" not in row]
        name = f"{peer} ({how})" if how else peer
        if not ran:
            lines.append(f"| {name} | {payload} | not run: {rows[0]['not_run']} | | | | |")
            continue
        lines.append(
            f"| {name} | {payload} | {median(ran, 'trip', 'p50_ns'):,.0f} | {median(ran, 'trip', 'p99_ns'):,.0f} "
            f"| {median(ran, 'ratio'):.1f} | {median(ran, 'events_per_second'):,.0f} "
            f"| {median(ran, 'gb_per_second'):.2f} |"
        )
    every = [row for rows in groups.values() for row in rows if "line" in row]
    if every:
        near = sum(row["cores"] == "near" for row in every)
        lines += ["", f"Bare cache line: p50 {median(every, 'line', 'p50_ns'):,.0f} ns (median of all runs); "
                  f"{near} of {len(every)} runs on near cores."]
    return "\n".join(lines) + "\n"


def broker_table(groups):
    lines = [
        "| durable, one group | payload | one by one p50 ns | p99 ns | pipelined/s | read and acked/s |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (peer, how, payload), rows in sorted(groups.items(), key=lambda item: item[0][2]):
        name = f"{peer} ({how})" if how else peer
        ran = [row for row in rows if "not_run" not in row]
        if not ran:
            lines.append(f"| {name} | {payload} | not run: {rows[0]['not_run']} | | | |")
            continue
        lines.append(
            f"| {name} | {payload} | {median(ran, 'publish_one', 'p50_ns'):,.0f} "
            f"| {median(ran, 'publish_one', 'p99_ns'):,.0f} | {median(ran, 'publish_many_per_second'):,.0f} "
            f"| {median(ran, 'consume_per_second'):,.0f} |"
        )
    return "\n".join(lines) + "\n"


def plots(groups, folder):
    try:
        import matplotlib

        matplotlib.use("svg")
        from matplotlib import pyplot
    except ImportError as error:
        print(f"report.py: no plots: {error}", file=sys.stderr)
        return
    ran = {key: [row for row in rows if "not_run" not in row] for key, rows in groups.items()}
    ran = {key: rows for key, rows in ran.items() if rows}

    percentiles = [("p50_ns", "50"), ("p90_ns", "90"), ("p99_ns", "99"), ("p999_ns", "99.9"), ("max_ns", "max")]
    figure, axes = pyplot.subplots(figsize=(8, 5))
    for (peer, how, payload), rows in ran.items():
        if payload == 64:
            axes.plot([text for _, text in percentiles], [median(rows, "trip", name) for name, _ in percentiles],
                      marker="o", label=f"{peer} ({how})")
    axes.set(yscale="log", xlabel="percentile", ylabel="ns", title="Round trip of 64 bytes between two processes")
    axes.legend(fontsize="small")
    figure.savefig(folder / "latency.svg")

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for name in dict.fromkeys((peer, how) for peer, how, _ in ran):
        sizes = sorted(payload for peer, how, payload in ran if (peer, how) == name)
        axes.plot(sizes, [median(ran[(*name, size)], "gb_per_second") for size in sizes], marker="o",
                  label=f"{name[0]} ({name[1]})")
    axes.set(xscale="log", yscale="log", xlabel="payload, bytes", ylabel="GB/s", title="One way, every byte checked")
    axes.legend(fontsize="small")
    figure.savefig(folder / "throughput.svg")


def main():
    folder = pathlib.Path(sys.argv[1])
    groups = load(folder / "results.jsonl")
    brokers = load(folder / "brokers.jsonl")
    (folder / "table.md").write_text(table(groups) + "\n" + broker_table(brokers))
    plots(groups, folder)


if __name__ == "__main__":
    main()
