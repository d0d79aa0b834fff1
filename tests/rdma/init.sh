#!/bin/busybox sh
# The first and only program of the virtual machine that run_vm.sh boots.
#
# One line "vm: step NAME ..." for each step with how it went, "vm: passed" or "vm: failed" last.
export PATH=/usr/bin:/bin:/sbin HOME=/root
/bin/busybox mkdir -p /sbin
/bin/busybox --install -s /bin 2>/dev/null
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t tmpfs tmp /dev/shm
mount -t tmpfs tmp /tmp
mount -t tmpfs tmp /run
chmod 1777 /tmp /dev/shm
ulimit -l unlimited
ulimit -c 0
cd /programs || exit
failed=

say() { echo "vm: $*"; }
uptime_s() { cut -d. -f1 /proc/uptime; }

# step NAME COMMAND...: its output is shown where it fails
step() {
    name=$1
    shift
    case $wanted in
    "" | *",$name,"*) ;;
    *) return ;;
    esac
    began=$(uptime_s)
    if "$@" >/tmp/out 2>&1; then
        say "step $name: passed, $(($(uptime_s) - began)) s"
        grep '^figure: ' /tmp/out
    else
        say "step $name: failed with $?"
        tail -n 60 /tmp/out
        failed=yes
    fi
}

# Two software devices at the two ends of a cable, so that frames between them really pass it and
# the cable can be cut. Both ends are this machine's, which must be told to take that for normal.
# By its path: this shell has an ip of its own, which knows less.
device_make() {
    while read -r module; do insmod "/modules/$module" || return 1; done </modules/order
    /usr/bin/ip link set lo up
    /usr/bin/ip link add v0 type veth peer name v1
    for n in 0 1; do
        /usr/bin/ip addr add "10.9.0.$((n + 1))/24" dev "v$n"
        /usr/bin/ip link set "v$n" mtu 4200 up
        echo 1 >"/proc/sys/net/ipv4/conf/v$n/accept_local"
        echo 0 >"/proc/sys/net/ipv4/conf/v$n/rp_filter"
    done
    for n in 0 1; do
        other=$(cat "/sys/class/net/v$((1 - n))/address")
        /usr/bin/ip neigh add "10.9.0.$((2 - n))" lladdr "$other" dev "v$n"
        rdma link add "rxe$n" type rxe netdev "v$n" || return 1
    done
    for n in 0 1; do
        for _ in $(seq 100); do
            grep -q ACTIVE "/sys/class/infiniband/rxe$n/ports/1/state" && break
            usleep 50000
        done
        grep -q ACTIVE "/sys/class/infiniband/rxe$n/ports/1/state" || return 1
    done
    chmod 666 /dev/infiniband/uverbs*
}

frames() { TEST_TRANSPORT=rdma ./test_transport_frames --jobs 2 --timeout 60; }
link() { TEST_TRANSPORT=rdma ./test_transport_link --jobs 2 --timeout 60 --filter 'link/*@(break|breaks)*'; }
lane() { ./test_rdma_lane --jobs 1 --timeout 60; }

wanted=$(sed -n 's/.*steps=\([^ ]*\).*/,\1,/p' /proc/cmdline)
[ "$wanted" = ,, ] && wanted=
say "up after $(uptime_s) s"
if device_make; then
    say "rxe0 is up after $(uptime_s) s"
else
    say "no rxe device"
    failed=yes
fi
if [ -z "$failed" ]; then
    step frames frames
    step link link
    step lane lane
fi
say "over after $(uptime_s) s"
if [ -z "$failed" ]; then say passed; else say failed; fi
poweroff -f
