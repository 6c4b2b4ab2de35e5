# shellcheck shell=bash
# Sourced by the scripts beside it: a Debian in a folder is started as a machine would, with systemd as the first process,
# in namespaces and a control group of its own.

# booted ROOT COMMANDS: starts it, runs the commands when all services are up, and stops it again. Ends as they do.
booted() {
  local groups status=0
  groups=$(findmnt --noheadings --raw --types cgroup2 --output TARGET | head -n 1)
  [ -n "$groups" ] || { echo "no cgroup2 is mounted"; return 1; }
  groups=$groups/penstock-test-$$
  mkdir "$groups" || return 1
  # The host's settings, modules and clock are not its to change. The commands are a service that ends systemd, with all
  # that runs in there, as it ended itself.
  timeout --kill-after=10 300 bash -euc '
    echo 0 >"$1/cgroup.procs"
    exec unshare --mount --pid --fork --kill-child --cgroup --uts --ipc --net bash -euc "$4" - "$2" "$3"
  ' - "$groups" "$1" "$2" '
    mount --bind "$1" "$1"
    mount -t proc proc "$1/proc"
    mount --bind "$1/proc/sys" "$1/proc/sys"
    mount -o remount,bind,ro "$1/proc/sys"
    mount -t sysfs -o ro sysfs "$1/sys"
    mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
    for folder in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$1/$folder"; done
    chmod 1777 "$1/tmp"
    mkdir -m 1777 "$1/dev/shm"
    mount -t tmpfs tmpfs "$1/dev/shm"
    for node in null zero full random urandom; do cp -a "/dev/$node" "$1/dev/"; done
    ln -s pts/ptmx "$1/dev/ptmx"
    mkdir -p "$1/run/systemd/system"
    printf "%s\n" "$2" >"$1/run/commands"
    cat >"$1/run/systemd/system/commands.service" <<UNIT
[Unit]
Wants=multi-user.target
After=multi-user.target
SuccessAction=exit
FailureAction=exit

[Service]
Type=oneshot
Environment=HOME=/root DEBIAN_FRONTEND=noninteractive
ExecStart=bash -eu /run/commands
StandardOutput=append:/var/log/commands
StandardError=append:/var/log/commands
UNIT
    cd "$1"
    pivot_root . .
    umount -l .
    exec env -i container=unshare PATH=/usr/sbin:/usr/bin:/sbin:/bin \
      setpriv --bounding-set=-sys_module,-sys_time,-syslog /lib/systemd/systemd --unit=commands.service
  ' || status=$?
  if [ -e "$1/var/log/commands" ]; then cat "$1/var/log/commands" && rm "$1/var/log/commands"; fi
  find "$groups" -depth -type d -exec rmdir {} +
  return $status
}
