"""The plots of report.py, as SVG that is the same for the same numbers."""

import re

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({
    "svg.hashsalt": "penstock",
    "svg.fonttype": "none",  # text stays text: small, and searchable
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.fontsize": 7,
})
from matplotlib import pyplot  # noqa: E402

import rows as r  # noqa: E402

PERCENTILES = [("p50", "50"), ("p90", "90"), ("p99", "99"), ("p999", "99.9"), ("p9999", "99.99"), ("max", "max")]
# A peer looks the same in every plot; ours stand out.
OURS = "#c0392b"
STYLES = {
    "Penstock": {"color": OURS, "linewidth": 2.2},
    "iceoryx": {"color": "#1f77b4"},
    "Boost message_queue": {"color": "#2ca02c"},
    "ZeroMQ": {"color": "#9467bd"},
    "POSIX mq": {"color": "#8c564b"},
    "Unix SEQPACKET": {"color": "#7f7f7f"},
    "Redis Streams": {"color": "#e67e22"},
    "NATS JetStream": {"color": "#17a2b8"},
}
DASHES = ["-", "--", ":"]  # the ways of one peer


def series(axes, rows, points):
    """A line for each peer and way; points(rows) gives its (x, y)s."""
    ways = {}
    for (peer, how), one in r.groups(r.ran(rows), "peer", "how").items():
        way = ways.setdefault(peer, [])
        way.append(how)
        xs_and_ys = points(one)
        if xs_and_ys:
            axes.plot(*zip(*xs_and_ys), marker="o", markersize=3.5, label=r.label(one[0]),
                      linestyle=DASHES[(len(way) - 1) % len(DASHES)], **STYLES.get(peer, {}))


def by(rows, field, *path, scale=1.0):
    """(field, median) of those rows that have both."""
    found = []
    for (at,), one in sorted(r.groups(rows, field).items()):
        try:
            found.append((at, scale * r.median(one, *path)))
        except r.Missing:
            continue
    return found


def percentiles(rows, path, scale):
    return [(text, scale * r.median(rows, path, f"{name}_ns")) for name, text in PERCENTILES]


def legend(axes, figure):
    """Of all panels, beside this one."""
    shown = {text: line for panel in figure.axes for line, text in zip(*panel.get_legend_handles_labels())}
    axes.legend(shown.values(), shown.keys(), loc="upper left", bbox_to_anchor=(1, 1))


def save(figure, folder, name):
    for axes in figure.axes:
        axes.minorticks_off()  # hundreds of them, and nothing to read
    figure.tight_layout()
    path = folder / f"{name}.svg"
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    path.write_text(re.sub(r"(\d\.\d\d)\d+", r"\1", path.read_text()))  # a hundredth of a point is fine enough


def latency(everything, folder):
    small = [row for row in everything["transports"] if row.get("payload") == 64]
    places = {cores: here for cores, here in r.placements(small).items() if r.ran(here)}
    if not places:
        return
    figure, panels = pyplot.subplots(1, len(places), figsize=(5.5 * len(places) + 2, 4.5), squeeze=False, sharey=True)
    for axes, (cores, here) in zip(panels[0], places.items()):
        series(axes, here, lambda one: percentiles(one, "trip", 1e-3))
        axes.set(yscale="log", xlabel="percentile", ylabel="round trip, µs",
                 title=f"64 bytes to another process and back, {cores} cores")
    legend(panels[0][-1], figure)
    save(figure, folder, "latency")


def throughput(everything, folder):
    rows = r.ran(everything["transports"])
    if not rows:
        return
    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4.5))
    for axes, what, scale, unit in ((panels[0], "events_per_second", 1e-6, "million events/s"),
                                    (panels[1], "gb_per_second", 1, "GB/s")):
        series(axes, rows, lambda one: by(one, "payload", what, scale=scale))
        axes.set(xlabel="payload, bytes", ylabel=unit, title="One way, every byte checked", yscale="log")
        axes.set_xscale("log", base=2)
        payloads = sorted({row["payload"] for row in rows})
        axes.set_xticks(payloads, [f"{payload:,}" for payload in payloads])
    legend(panels[1], figure)
    save(figure, folder, "throughput")


def open_loop(everything, folder):
    rows = r.ran(everything["open_loop"])
    kinds = list(dict.fromkeys(row["case"].rsplit("_", 1)[0] for row in rows))
    if not kinds:
        return
    figure, panels = pyplot.subplots(1, len(kinds), figsize=(3 * len(kinds) + 1.5, 4), squeeze=False, sharey=True)
    for axes, kind in zip(panels[0], kinds):
        here = [row for row in rows if row["case"].rsplit("_", 1)[0] == kind]
        for (rate,), one in sorted(r.groups(here, "rate").items()):
            xs, ys = zip(*percentiles(one, "delay", 1e-3))
            axes.plot(xs, ys, marker="o", markersize=3.5, label=f"{rate:,.0f} events/s")
        axes.set(yscale="log", xlabel="percentile", title=kind.replace("_", ", "))
        axes.tick_params(axis="x", labelsize=7)
    panels[0][0].set_ylabel("delay from when it was due, µs")
    legend(panels[0][-1], figure)
    save(figure, folder, "open_loop")


def growth(everything, folder):
    rows = [row for row in r.ran(everything["brokers"]) if row.get("payload") == 64 and "end_to_end" in row]
    if not rows:
        return
    figure, panels = pyplot.subplots(1, 3, figsize=(14, 4.2))
    per_event = ("end_to_end", "deliveries_per_second")
    for axes, what, other, title in ((panels[0], "publishers", "groups", "Producers, one group, durable"),
                                     (panels[1], "groups", "publishers", "Groups that each get all, durable")):
        series(axes, [row for row in rows if row[other] == 1],
               lambda one: [(at, 1e6 / rate) for at, rate in by(one, what, *per_event)])
        axes.set(xlabel=what, ylabel="µs a delivery", title=title, yscale="log")
        axes.set_xscale("log", base=2)
        at = sorted({row[what] for row in rows if row[other] == 1})
        axes.set_xticks(at, [str(count) for count in at])
    in_memory = [row for row in r.ran(everything["throughput"]) if row["readers"] == 1 and not row["single_producer"]]
    points = [(at, 1e6 / rate) for at, rate in by(in_memory, "producers", "events_per_second")]
    if points:
        panels[0].plot(*zip(*points), marker="s", markersize=3.5, color=OURS, linestyle=":",
                       label="Penstock (in memory, no group)")
    panels[0].legend(loc="upper left", bbox_to_anchor=(0, -0.16))
    scale = r.ran(everything["scale"])
    for path, factor, text in ((("trip", "p50_ns"), 1e-3, "round trip of another topic, p50"),
                               (("attach", "p50_ns"), 1e-3, "opening bus, producer, reader, p50")):
        points = by(r.settled(scale) if path[0] == "trip" else scale, "topics", *path, scale=factor)
        if points:
            panels[2].plot(*zip(*points), marker="o", markersize=3.5, label=text)
    if scale:
        panels[2].legend()
    panels[2].set_xscale("symlog", linthresh=10)
    panels[2].set(yscale="log", xlabel="topics on the bus (and a tenth as many groups)", ylabel="µs",
                  title="Topics, Penstock")
    save(figure, folder, "growth")


def draw(everything, folder):
    for plot in (latency, throughput, open_loop, growth):
        plot(everything, folder)
