"""Run twice by packages_long_test.sh in the new Debian, as root, with systemd as the first process: `before` and `after` a
reboot. The unit serves a bus that users share, until its package is purged.
"""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

UNIT = "penstockd@shop"
BUS = "/var/lib/penstock/shop"
ACCESS = '[access]\nproducers = "shop-producers"\nconsumers = "shop-consumers"\n'
PENSTOCK = ["penstock", "--bus", BUS]


def say(*command):
    print("+", *command, flush=True)
    subprocess.run(command, check=True, timeout=300)


def as_user(user, *command, **options):
    options.setdefault("check", True)
    return subprocess.run(["runuser", "-u", user, "--", *command], text=True, capture_output=True, timeout=120, **options)


def output(*command):
    return subprocess.run(command, check=True, text=True, capture_output=True, timeout=120).stdout


def show(name, unit=UNIT):
    return output("systemctl", "show", "--value", "--property", name, unit).strip()


def journal(unit=UNIT, *options):
    return output("journalctl", "--quiet", "--output=cat", f"--unit={unit}", *options)


def wait_until(condition, what):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"never: {what}\n" + journal()
        time.sleep(0.02)


def settings(text, unit=UNIT):
    """Writes bus.toml, as the bus's owner."""
    as_user("penstock", "tee", f"/var/lib/penstock/{unit.partition('@')[2]}/bus.toml", input=text)


def publish(text):
    return as_user("seller", *PENSTOCK, "pub", "orders", text, "--await", "disk")


def take():
    """The next event of the group desk."""
    return as_user("picker", *PENSTOCK, "sub", "orders", "--group", "desk", "--from", "beginning", "-n", "1").stdout


def what_the_package_brought():
    say("getent", "passwd", "penstock")
    assert output("stat", "-c", "%U %G %a", "/var/lib/penstock") == "penstock penstock 755\n"
    say("systemd-analyze", "verify", "--man=no", f"{UNIT}.service")
    say("systemd-analyze", "security", "--no-pager", "--threshold=35", f"{UNIT}.service")


def a_bus_for_a_seller_and_a_picker():
    for group in "shop-producers", "shop-consumers":
        say("groupadd", group)
    say("usermod", "--append", "--groups", "shop-producers,shop-consumers", "penstock")
    say("useradd", "--groups", "shop-producers,shop-consumers", "seller")
    say("useradd", "--groups", "shop-consumers", "picker")
    say("useradd", "stranger")
    as_user("penstock", "mkdir", BUS)
    settings(ACCESS)
    with open(f"/etc/default/{UNIT.replace('@', '-')}", "w") as defaults:
        defaults.write("PENSTOCKD_OPTIONS=--metrics 127.0.0.1:9464\n")


def it_serves():
    say("systemctl", "enable", "--now", UNIT)
    assert show("ActiveState") == "active" and show("Type") == "notify"
    # Nothing of what closes the unit takes io_uring from it, or a lock on the rings' pages.
    assert f"ready, bus {BUS}, io_uring\n" in journal(), journal()
    live = os.readlink(f"{BUS}/live")
    assert re.fullmatch("/dev/shm/penstock-[^/]+", live), live
    assert output("stat", "-c", "%U %G %A", live) == "penstock shop-consumers drwxr-x---\n", output("stat", live)
    publish("one")
    assert take() == "one\n"
    assert as_user("picker", *PENSTOCK, "pub", "orders", "two", check=False).returncode == 1
    assert as_user("stranger", *PENSTOCK, "sub", "orders", "--from", "beginning", "-n", "1", check=False).returncode != 0
    with urllib.request.urlopen("http://127.0.0.1:9464/metrics", timeout=60) as answer:
        metrics = answer.read().decode()
    assert re.search(r'^penstock_topic_next_offset\{.*topic="orders".*\} 1$', metrics, re.MULTILINE), metrics


def it_reads_its_settings_again():
    pid = show("MainPID")
    settings(ACCESS + '[topics]\nretention_time = "7d"\n')
    say("systemctl", "reload", UNIT)
    wait_until(lambda: "and is in effect" in journal(), "a reload")
    settings("[acess]\n")
    say("systemctl", "reload", UNIT)
    wait_until(lambda: "all stays as it was" in journal(UNIT, "--priority=err"), "a reload refused")
    wait_until(lambda: show("SubState") == "running", "the end of the reload")
    assert show("MainPID") == pid
    settings(ACCESS)


def it_is_started_anew():
    pids = [show("MainPID")]
    say("systemctl", "restart", UNIT)
    pids.append(show("MainPID"))
    os.kill(int(pids[-1]), signal.SIGKILL)
    wait_until(lambda: show("NRestarts") == "1" and show("ActiveState") == "active", "a restart of the killed daemon")
    pids.append(show("MainPID"))
    deb = next(name for name in os.listdir("/trial/debs") if name.startswith("penstockd_"))
    say("apt-get", "install", "-y", "--reinstall", "--no-install-recommends", f"/trial/debs/{deb}")
    pids.append(show("MainPID"))
    assert len(set(pids)) == 4 and "0" not in pids, pids
    publish("two")
    assert take() == "two\n"


def it_stops():
    say("systemctl", "stop", UNIT)
    assert show("ActiveState") == "inactive" and show("Result") == "success"
    say(*PENSTOCK, "verify")
    assert not as_user("seller", *PENSTOCK, "pub", "orders", "three").stderr  # without a daemon too, but not durable yet
    say("systemctl", "start", UNIT)


def wrong_settings_are_not_tried_again():
    wrong = "penstockd@wrong"
    as_user("penstock", "mkdir", "/var/lib/penstock/wrong")
    settings("[acess]\n", wrong)
    assert subprocess.run(["systemctl", "start", wrong], capture_output=True, timeout=120).returncode != 0
    wait_until(lambda: show("ActiveState", wrong) == "failed", "a failed unit")
    assert show("ExecMainStatus", wrong) == "2" and show("NRestarts", wrong) == "0"
    assert "did you mean access?" in journal(wrong), journal(wrong)


def before():
    what_the_package_brought()
    a_bus_for_a_seller_and_a_picker()
    it_serves()
    it_reads_its_settings_again()
    it_is_started_anew()
    it_stops()
    wrong_settings_are_not_tried_again()


def after():
    """Shared memory is gone; the events, and what the group had settled, are not."""
    assert show("ActiveState") == "active"
    assert take() == "three\n"
    pid = show("MainPID")
    say("apt-get", "purge", "-y", *sys.argv[2:])
    assert not os.path.exists(f"/proc/{pid}"), "the daemon outlives its package"
    assert not output("systemctl", "list-units", "--no-legend", "penstockd@*")
    os.unlink(f"/etc/default/{UNIT.replace('@', '-')}")


{"before": before, "after": after}[sys.argv[1]]()
