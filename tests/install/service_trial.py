"""Run by packages_long_test.sh in the new Debian, as root: the daemon as its unit runs it, on a bus that users share.

There is no systemd as the first process, so this reads the unit and does what a service manager would: the user, the mask,
the options, and a socket for what the daemon says of itself. The rest of the unit systemd-analyze judges.
"""

import os
import re
import socket
import subprocess
import urllib.request

UNIT = "/usr/lib/systemd/system/penstockd@.service"
BUS = "/var/lib/penstock/shop"


def as_user(user, *command, **options):
    options.setdefault("check", True)
    return subprocess.run(["runuser", "-u", user, "--", *command], text=True, capture_output=True, timeout=120, **options)


def say(*command):
    print("+", *command, flush=True)
    subprocess.run(command, check=True)


# What the package brought: the user, the folder, and a unit that systemd understands and finds closed enough.
say("getent", "passwd", "penstock")
assert subprocess.check_output(["stat", "-c", "%U %G %a", "/var/lib/penstock"], text=True) == "penstock penstock 755\n"
say("systemd-analyze", "verify", "--man=no", "penstockd@shop.service")
say("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=35", UNIT)

# A bus for a seller and a picker, and for nobody else.
for group in "shop-producers", "shop-consumers":
    say("groupadd", group)
say("usermod", "--append", "--groups", "shop-producers,shop-consumers", "penstock")
say("useradd", "--groups", "shop-producers,shop-consumers", "seller")
say("useradd", "--groups", "shop-consumers", "picker")
say("useradd", "stranger")
as_user("penstock", "mkdir", BUS)
as_user("penstock", "tee", f"{BUS}/bus.toml", input='[access]\nproducers = "shop-producers"\nconsumers = "shop-consumers"\n')
with open("/etc/default/penstockd-shop", "w") as defaults:
    defaults.write("PENSTOCKD_OPTIONS=--metrics 127.0.0.1:9464\n")

with open(UNIT) as unit:
    settings = dict(line.strip().split("=", 1) for line in unit if re.match("[A-Z][A-Za-z]+=", line))
assert settings["Type"] == "notify"
assert os.access(settings["ExecReload"].split()[0], os.X_OK), "what reloads is not in a minimal system"
with open(settings["EnvironmentFile"].lstrip("-").replace("%i", "shop")) as defaults:
    options = dict(line.strip().split("=", 1) for line in defaults)["PENSTOCKD_OPTIONS"]
command = settings["ExecStart"].replace("%i", "shop").replace("$PENSTOCKD_OPTIONS", options).split()

inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
inbox.settimeout(60)
inbox.bind("/run/notify")
os.chmod("/run/notify", 0o777)
daemon = subprocess.Popen(command, user=settings["User"], group=settings["Group"], umask=int(settings["UMask"], 8),
                          extra_groups=os.getgrouplist("penstock", os.stat(BUS).st_gid),
                          env={"PATH": "/usr/bin", "NOTIFY_SOCKET": "/run/notify"})
try:
    assert inbox.recv(4096) == b"READY=1"
    penstock = ["penstock", "--bus", BUS]
    as_user("seller", *penstock, "pub", "orders", "one", "--await", "disk")
    took = as_user("picker", *penstock, "sub", "orders", "--group", "desk", "--from", "beginning", "-n", "1")
    assert took.stdout == "one\n", took
    assert as_user("picker", *penstock, "pub", "orders", "two", check=False).returncode == 1
    assert as_user("stranger", *penstock, "sub", "orders", "--from", "beginning", "-n", "1", check=False).returncode != 0
    with urllib.request.urlopen("http://127.0.0.1:9464/metrics", timeout=60) as answer:
        metrics = answer.read().decode()
    assert re.search(r'^penstock_topic_next_offset\{.*topic="orders".*\} 1$', metrics, re.MULTILINE), metrics
    daemon.terminate()
    assert inbox.recv(4096) == b"STOPPING=1"
    assert daemon.wait(60) == 0
finally:
    daemon.kill()
say("penstock", "--bus", BUS, "verify")
as_user("penstock", "penstock", "--bus", BUS, "bus", "unload")
os.unlink("/run/notify")
os.unlink("/etc/default/penstockd-shop")
print("service trial: ok")
