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

# Nobody answers who asks for an address from a machine that has it itself.
neighbours() {
    for n in 0 1; do
        for cable in v:9 w:10; do
            /usr/bin/ip neigh replace "10.${cable#*:}.0.$((2 - n))" dev "${cable%:*}$n" \
                lladdr "$(cat "/sys/class/net/${cable%:*}$((1 - n))/address")"
        done
    done
}

# Software devices at the ends of two cables, rxe0 and rxe1 of v, rxe2 and rxe3 of w, so that frames
# between them really pass it and the cable can be cut. All ends are this machine's, which must be
# told to take that for normal.
# By its path: this shell has an ip of its own, which knows less.
device_make() {
    while read -r module; do insmod "/modules/$module" || return 1; done </modules/order
    /usr/bin/ip link set lo up
    for cable in v:9 w:10; do
        c=${cable%:*}
        /usr/bin/ip link add "${c}0" type veth peer name "${c}1"
        for n in 0 1; do
            /usr/bin/ip addr add "10.${cable#*:}.0.$((n + 1))/24" dev "$c$n"
            /usr/bin/ip link set "$c$n" mtu 4200 up
            echo 1 >"/proc/sys/net/ipv4/conf/$c$n/accept_local"
            echo 0 >"/proc/sys/net/ipv4/conf/$c$n/rp_filter"
        done
    done
    neighbours
    for n in 0:v0 1:v1 2:w0 3:w1; do
        rdma link add "rxe${n%:*}" type rxe netdev "${n#*:}" || return 1
    done
    for n in 0 1 2 3; do
        for _ in $(seq 100); do
            grep -q ACTIVE "/sys/class/infiniband/rxe$n/ports/1/state" && break
            usleep 50000
        done
        grep -q ACTIVE "/sys/class/infiniband/rxe$n/ports/1/state" || return 1
    done
    chmod 666 /dev/infiniband/uverbs*
}

# -- the lane by itself ---------------------------------------------------------------------------

frames() { TEST_TRANSPORT=rdma ./test_transport_frames --jobs 2 --timeout 60; }
link() { TEST_TRANSPORT=rdma ./test_transport_link --jobs 2 --timeout 60 --filter 'link/*@(break|breaks)*'; }
stress() { TEST_TRANSPORT=rdma ./test_transport_stress; }
lane() { ./test_rdma_lane --jobs 1 --timeout 60; }

# -- sessions -------------------------------------------------------------------------------------

daemon="./gpupoold --driver /programs/soft/libcuda.so.1 --tls-cert /certs/server.crt
    --tls-key /certs/server.key --tls-ca /certs/ca.crt --grace 30s"
server=
ports=1 # that a session's bulk may go by
# server_start [OPTION...]: what else it is started with
server_start() {
    [ -z "$server" ] || return 0
    rm -f /tmp/ready
    mkfifo /tmp/ready
    $daemon "$@" --listen rdma://10.9.0.1:0 --rdma-fabric rxe0 --rdma-fabric rxe2 --ready-fd 3 \
        3>/tmp/ready >/tmp/server.log 2>&1 &
    server=$!
    url=$(head -n 1 /tmp/ready)
    [ -n "$url" ] || cat /tmp/server.log
    [ -n "$url" ]
}
server_stop() {
    [ -n "$server" ] || return 0
    kill "$server"
    wait "$server"
    status=$?
    server=
    return $status
}

# client COMMAND...: through the pool. Emulation on a busy machine may be too slow for a client's own
# patience with a server, which is none of its faults: then it is started again.
client() {
    for _ in 1 2 3 4 5; do
        at=$(uptime_s)
        (client_exec "$@") 2>/tmp/client.err &&
            echo "figure: $1 took $(($(uptime_s) - at)) s" && return 0
        too_slow /tmp/client.err || break
    done
    cat /tmp/client.err /tmp/server.log
    return 1
}
client_exec() {
    exec env GPUPOOL_LOG=info GPUPOOL_STATS=1 GPUPOOL_SERVER="$url" GPUPOOL_CERT=/certs/alice.crt \
        GPUPOOL_KEY=/certs/alice.key GPUPOOL_CA=/certs/ca.crt GPUPOOL_RDMA_FABRIC=rxe1,rxe3 \
        GPUPOOL_RDMA_PORTS="$ports" LD_LIBRARY_PATH=/programs/client "$@"
}
too_slow() { grep -qE 'no pool: .*(timed out|in time)' "$1"; }

# background FILE COMMAND...: says "round 0" into FILE when it is on its way; its id in $pid
background() {
    said=$1
    shift
    for _ in 1 2 3 4 5; do
        (client_exec "$@" >"$said" 2>&1) &
        pid=$!
        while kill -0 "$pid" 2>/dev/null; do
            grep -q '^round 0' "$said" && return 0
            usleep 20000
        done
        wait "$pid" && return 0
        too_slow "$said" || break
    done
    cat "$said" /tmp/server.log
    return 1
}

programs() {
    server_start --metrics http://127.0.0.1:9470 || return 1
    client ./gpupool-demo /tmp/picture.png 32 24 || return 2
    client ./drv_bulk || return 3
    grep -q '^gpupool-stats: transport rdma' /tmp/client.err || return 4
    client ./drv_copies || return 5
    grep -q 'rdma by rxe0:1 10.9.0.1' /tmp/server.log || return 6
    # Pinned memory goes and comes past the rings: both ways, all of it, and by the RDMA device alone.
    client ./drv_bulk 1 16 pinned || return 7
    straight 16384 || return 8
    by_device 16384 || return 9
    grep -q 'device 0: GPUDirect, .* rxe0 takes it by address' /tmp/server.log || return 10
    client ./drv_bulk 2 4 lent || return 11
    straight 8192 || return 12
    by_device 8192 || return 13
    client ./drv_bulk_order || return 14
    client ./drv_bulk_order beside || return 15 # of three copies while another stream is busy
    by_device 9216 || return 16
    wget -qO- http://127.0.0.1:9470/metrics | grep gpudirect | tee /tmp/metrics
    grep -q '^gpupool_tenant_gpudirect_bytes_total{.*} [1-9]' /tmp/metrics
}

# straight KIB: exactly so much went each way past the rings of a session that has just ended
straight() { said "rdma: $1 KiB sent and $1 KiB received past the rings" /tmp/server.log; }
# by_device KIB: ... between the client's memory and the software device's, staged nowhere
by_device() { said "rdma: $1 KiB of these from and $1 KiB to device memory by rxe0" /tmp/server.log; }

# Memory that is paged out after each frame, and comes back elsewhere, is taken back before that, and
# told anew. A step of paging in so many fails.
paged() {
    server_stop
    server_start --oversubscribe=2 --evict-every=1 --swap-fault=50 || return 1
    client ./drv_bulk 4 4 pinned || return 2
    straight 16384 || return 3
    by_device 16384 || return 4
    server_stop
}

# Two at once, of which one is killed in the middle; the server goes on.
two_clients() {
    server_start || return 1
    background /tmp/other ./drv_bulk 1000 4 || return 2
    other=$pid
    background /tmp/one ./drv_bulk 8 4 || return 3
    one=$pid
    kill -9 "$other" || return 4
    wait "$one" || { cat /tmp/one; return 5; }
    wait "$other"
    client ./drv_copies || return 6
    for _ in $(seq 100); do
        grep -q 'the client is lost' /tmp/server.log && return 0
        usleep 100000
    done
    cat /tmp/server.log
    return 7
}

# The cable is out in the middle of copies: the session goes on.
cut_cable() {
    server_start || return 1
    : >/tmp/server.log
    background /tmp/cut ./drv_bulk 12 4 pinned || return 2
    /usr/bin/ip link set v1 down
    for _ in $(seq 200); do
        grep -q 'the client is lost' /tmp/server.log && break
        usleep 100000
    done
    sleep 1
    /usr/bin/ip link set v1 up
    neighbours
    wait "$pid" || { cat /tmp/cut /tmp/server.log; return 3; }
    cat /tmp/cut
    grep 'was lost for .* the session goes on' /tmp/cut | sed 's/^/figure: /'
    grep -q 'was lost for .* the session goes on' /tmp/cut
}

# By hand (--steps cuts): a program that counts its launches and callbacks, and compares each result,
# while the cable is out and in again at random moments; runs go on for $cuts_s seconds.
cuts() {
    began=$(uptime_s)
    cut=0 runs=0 lost=0
    server_stop
    server_start --heartbeat=1s || return 1
    while [ $(($(uptime_s) - began)) -lt "$cuts_s" ]; do
        runs=$((runs + 1))
        (client_exec ./exact 40 $runs >/tmp/cuts 2>&1) &
        pid=$!
        while kill -0 $pid 2>/dev/null; do
            usleep $((RANDOM * 15))
            # What cannot be survived is the opening: it is over soon after the server has the session.
            grep -q "session: exact" /tmp/server.log || continue
            usleep 200000
            kill -0 $pid 2>/dev/null || break
            /usr/bin/ip link set v1 down
            usleep $((RANDOM * 150))
            /usr/bin/ip link set v1 up
            neighbours
            cut=$((cut + 1))
        done
        wait $pid || too_slow /tmp/cuts || { cat /tmp/cuts /tmp/server.log; return 2; }
        lost=$((lost + $(grep -c 'the session goes on' /tmp/cuts)))
        : >/tmp/server.log
    done
    echo "figure: $runs runs, the cable out $cut times, the line lost $lost times: exact each time"
    [ "$lost" -gt 0 ]
}

# said TEXT FILE: within half a minute
said() {
    for _ in $(seq 300); do
        grep -q "$1" "$2" && return 0
        usleep 100000
    done
    cat "$2" /tmp/server.log
    return 1
}

# Bytes between two servers go by RDMA from one to the other, both ways, and none of them by the
# client.
servers() {
    bytes=$((2 * 4718592 + 9437188)) # that "two" copies
    server_stop
    export GPUPOOL_SOFT_DEVICES=3 GPUPOOL_SOFT_SERIAL=1
    server_start --peer 10.9.0.0/24 --rdma-fabric rxe1 --rdma-ports 1 || return 1
    first=$server first_url=$url server=
    mv /tmp/server.log /tmp/first.log # it goes on there
    GPUPOOL_SOFT_SERIAL=2
    server_start --peer 10.9.0.0/24 --rdma-fabric rxe1 --rdma-ports 1 || return 2
    unset GPUPOOL_SOFT_DEVICES GPUPOOL_SOFT_SERIAL
    url=$first_url+$url
    for _ in 1 2 3; do # servers have a patience with each other, too
        client ./drv_servers two || return 3
        grep -E 'gpupool-stats: bytes|copies' /tmp/client.err
        grep -q 'do not go by rdma: .*\(time\|no answer\)' /tmp/client.err || break
    done
    grep -q "bytes_between_by_rdma $bytes\$" /tmp/client.err || return 4
    grep -q "bytes_between_servers $bytes\$" /tmp/client.err || return 5
    grep -q 'bytes_relayed 0$' /tmp/client.err || return 6
    for log in /tmp/first.log /tmp/server.log; do
        grep 'copies go to the server at 10.9.0.1:[0-9]* by rdma' $log || return 7
        grep 'copies come from the server at 10.9.0.2:[0-9]* by rdma' $log || return 8
    done
    echo "figure: $bytes bytes from server to server, all by rdma"
    server_stop || return 9
    server=$first
    server_stop
}

# Whoever asks for the best lane goes by RDMA, from one device to the other. When no frame gets
# through any more, though both ports are up, it goes on by TLS and says so, and by RDMA again when
# that is mended; what is copied meanwhile is exact.
choice() {
    server_stop
    server_start --listen tls://10.9.0.1:0 --offer-shm=no --gpudirect=no || return 1
    url=gpupool://${url#tls://}
    background /tmp/choice ./drv_bulk 1000 4 pinned || return 2
    grep -q 'rdma by rxe1:1 10.9.0.2' /tmp/choice || return 3
    for n in 0 1; do
        /usr/bin/ip neigh replace "10.9.0.$((2 - n))" dev "v$n" lladdr 02:00:00:00:00:99
    done
    said 'the session goes on by tls' /tmp/choice || return 4
    neighbours
    said 'goes by rdma again' /tmp/choice || return 5
    said "^round $(($(grep -c '^round' /tmp/choice) + 1)): 0 words differ" /tmp/choice || return 6
    grep 'the session' /tmp/choice | sed 's/^/figure: /'
    grep -q '^round .*: [1-9][0-9]* words' /tmp/choice && return 7
    kill "$pid"
    wait "$pid"
    grep -q GPUDirect /tmp/server.log && return 8 # it was told not to
    grep -q 'rdma by rxe0:1 10.9.0.1' /tmp/server.log
}

# Bulk goes by both cables, both ways. When one of them is out the session does not notice but for a
# line of log, and what was under way by it is read again by the other one: with exact bytes.
stripes() {
    ports=0
    server_stop
    server_start || return 1
    background /tmp/stripes ./drv_bulk 9 8 pinned || return 2
    for log in /tmp/stripes /tmp/server.log; do
        grep 'rdma: bulk by rxe[23]:1 10.10.0.[12] too' $log || return 3
    done
    said '^round 3: 0 words' /tmp/stripes || return 4
    /usr/bin/ip link set w1 down
    wait "$pid" || { cat /tmp/stripes /tmp/server.log; return 5; }
    /usr/bin/ip link set w1 up
    neighbours
    ports=1
    cat /tmp/stripes
    grep -q '^round 8: 0 words' /tmp/stripes || return 6
    grep -q '^round .*: [1-9][0-9]* words' /tmp/stripes && return 7
    grep -q 'was lost' /tmp/stripes && return 8
    said '[1-9][0-9]* KiB of what was received came by rxe2:1' /tmp/server.log || return 9
    cat /tmp/server.log
    grep -h 'carries nothing any more' /tmp/stripes /tmp/server.log | sed 's/^/figure: /' | cut -c -150
    grep -q 'carries nothing any more' /tmp/stripes /tmp/server.log
}

# The kernel's TLS, for which the kernel of this machine is as good as any, with itself and OpenSSL.
kernel_frames() {
    TEST_TRANSPORT=ktls ./test_transport_frames --jobs 2 --timeout 60 \
        --filter 'frames/@(receive|send_to|shutdown|what_was|end_in|both_ends|last_words|many)*' &&
        TEST_TRANSPORT=ktls1 ./test_transport_frames --jobs 2 --timeout 60 \
            --filter 'frames/@(receive|what_was|many|last_words)*'
}
tls_stat() { awk -v name="$1" '$1 == name {print $2}' /proc/net/tls_stat; }

# A session goes by three connections, which the kernel ciphers at both ends. This kernel takes no
# second key, so each of them ends after 8 MiB, and others take its place; and the cable is out for
# a while: 64 MiB each way are exact.
kernel_tls() {
    server_stop
    server_start --listen tls://10.9.0.1:0 --offer-shm=no --tls-rekey=8m --heartbeat=500ms || return 1
    export GPUPOOL_TLS_REKEY=8m GPUPOOL_LINES=3 GPUPOOL_LINES_AFTER=0
    background /tmp/ktls ./drv_bulk 16 4 || return 2
    unset GPUPOOL_TLS_REKEY GPUPOOL_LINES GPUPOOL_LINES_AFTER
    said '^round 7: 0 words' /tmp/ktls || return 3
    /usr/bin/ip link set v1 down
    usleep 500000
    /usr/bin/ip link set v1 up
    neighbours
    wait "$pid" || { cat /tmp/ktls /tmp/server.log; return 4; }
    cat /tmp/ktls
    grep -q '^round 15: 0 words' /tmp/ktls || return 5
    grep -q '^round .*: [1-9][0-9]* words' /tmp/ktls && return 6
    for log in /tmp/ktls /tmp/server.log; do
        grep -q 'SHA256 by the kernel' $log || return 7
        grep -q 'takes no further key' $log || return 8
    done
    [ "$(tls_stat TlsTxSw)" -gt 5 ] || return 9
    [ "$(tls_stat TlsDecryptError)" = 0 ] || return 10
    echo "figure: $(tls_stat TlsTxSw) connections ciphered by the kernel," \
        "$(grep -c 'the session goes on' /tmp/ktls) times the session went on by others"
    server_stop
}

# What must not start does not, and says why.
refusals() {
    $daemon --listen rdma://10.9.0.1:0 >/tmp/refused 2>&1 && return 1
    cat /tmp/refused
    grep -q 'rdma-fabric is needed' /tmp/refused || return 2
    $daemon --listen rdma://10.9.0.1:0 --rdma-fabric 'no such' >/tmp/refused 2>&1 && return 3
    grep -q 'no device, port or network' /tmp/refused || return 4
    (
        ulimit -l 64
        su -s /bin/sh nobody -c "$(echo $daemon) --listen rdma://10.9.0.1:0 --rdma-fabric rxe0"
    ) >/tmp/refused 2>&1 && return 5
    cat /tmp/refused
    grep -q 'LimitMEMLOCK=' /tmp/refused
}

# -- figures --------------------------------------------------------------------------------------

# floor OPTIONS...: of transport_floor, both ends of it
floor() {
    rm -f /tmp/ready
    mkfifo /tmp/ready
    ./transport_floor --transport rdma --ca /certs/ca.crt --cert /certs/server.crt \
        --key /certs/server.key --role serve --ready-fd 3 "$@" 3>/tmp/ready >/dev/null &
    ./transport_floor --transport rdma --ca /certs/ca.crt --cert /certs/alice.crt \
        --key /certs/alice.key --role connect --url "$(head -n 1 /tmp/ready)" "$@" || return 1
    wait $!
}

# perftest NAME FIELD ROW ARGUMENTS...: the field of the row of figures that begins with ROW
perftest() {
    tool=$1
    field=$2
    row=$3
    shift 3
    "$tool" -d rxe0 -x 1 "$@" >/tmp/perftest.server 2>&1 &
    sleep 1
    "$tool" -d rxe0 -x 1 "$@" 127.0.0.1 >/tmp/perftest 2>&1 || { cat /tmp/perftest; return 1; }
    wait $!
    awk -v row="$row" -v field="$field" '$1 == row {print $field}' /tmp/perftest
}

# json NAME WHAT FILE: a number
json() { sed -n "s/.*\"$2\".*\"$1\": \([0-9.]*\).*/\1/p" "$3"; }

# Beside perftest's, three times in turn, the best of each: the machine is not ours alone. Who looks
# without sleeping has the shorter way, and takes the cores from the software device: so the one for
# the ping, the other for the stream. What is nearest to them is measured too: ib_send_lat is told of a
# message by a completion, as a lane is of all that it does not find in memory (ib_write_lat looks at
# its last byte there); and bulk past the rings is read, as by ib_read_bw, in pieces as clients send.
figures() {
    for _ in 1 2 3; do
        perftest ib_write_lat 5 96 -s 96 -n 1000 >>/tmp/their_lat || return 1
        perftest ib_send_lat 5 96 -s 96 -n 1000 >>/tmp/send_lat || return 1
        floor --rounds 1000 --spin 100ms --stream 1m >/tmp/floor 2>&1 || { cat /tmp/floor; return 2; }
        json median_us pingpong /tmp/floor >>/tmp/our_lat
        perftest ib_write_bw 4 65536 -s 65536 -n 400 >>/tmp/their_bw || return 3
        floor --rounds 1 --stream 24m >/tmp/floor 2>&1 || { cat /tmp/floor; return 4; }
        json gb_per_s stream_out /tmp/floor >>/tmp/our_bw
        json gb_per_s stream_in /tmp/floor >>/tmp/our_bw
        perftest ib_read_bw 4 65536 -s 65536 -n 400 >>/tmp/read_bw || return 5
        floor --rounds 1 --stream 24m --kept --chunk 2m >/tmp/floor 2>&1 || { cat /tmp/floor; return 6; }
        json gb_per_s stream_out /tmp/floor >>/tmp/kept_bw
        json gb_per_s stream_in /tmp/floor >>/tmp/kept_bw
    done
    sort -n /tmp/their_lat | head -n 1 >/tmp/lat
    sort -n /tmp/our_lat | head -n 1 >>/tmp/lat
    sort -n /tmp/send_lat | head -n 1 >>/tmp/lat
    sort -n /tmp/their_bw | tail -n 1 >/tmp/bw
    sort -n /tmp/our_bw | tail -n 1 >>/tmp/bw
    sort -n /tmp/kept_bw | tail -n 1 >>/tmp/bw
    sort -n /tmp/read_bw | tail -n 1 >>/tmp/bw
    awk '{v[NR] = $1} END {printf "figure: 96 B one way: ib_write_lat %.1f us, lane %.1f us: %.2f times; " \
        "ib_send_lat %.1f us: %.2f times\n", v[1], v[2] / 2, v[2] / 2 / v[1], v[3], v[2] / 2 / v[3]}' /tmp/lat
    awk '{v[NR] = $1} END {ours = v[2] * 1e9 / 1048576; printf "figure: stream: ib_write_bw %.1f MiB/s, " \
        "lane %.1f MiB/s: %.2f times as long\n", v[1], ours, v[1] / ours
        kept = v[3] * 1e9 / 1048576
        printf "figure: past the rings: %.1f MiB/s: %.2f times as long; ib_read_bw %.1f MiB/s: %.2f times\n",
            kept, v[1] / kept, v[4], v[4] / kept}' /tmp/bw
}

# By hand (--steps tls_figures): connections by a session's key, ciphered by OpenSSL and by the
# kernel, in turn; the best of each.
tls_figures() {
    for _ in 1 2 3; do
        for by in key kernel; do
            ./transport_floor --transport tls-$by --rounds 300 --spin 100ms --stream 8m --chunk 256k \
                >/tmp/floor 2>&1 || { cat /tmp/floor; return 1; }
            json median_us pingpong /tmp/floor >>/tmp/lat_$by
            json gb_per_s stream_out /tmp/floor >>/tmp/bw_$by
            json gb_per_s stream_in /tmp/floor >>/tmp/bw_$by
        done
    done
    for by in key kernel; do
        awk -v by=$by '{if (NR == 1 || $1 < best) best = $1}
            END {printf "figure: by %s: 64 B ping-pong %.0f us", by, best}' /tmp/lat_$by
        awk '{if ($1 > best) best = $1} END {printf ", stream %.1f MiB/s\n", best * 1e9 / 1048576}' /tmp/bw_$by
    done
}

wanted=$(sed -n 's/.*steps=\([^ ]*\).*/,\1,/p' /proc/cmdline)
[ "$wanted" = ,, ] && wanted=
cuts_s=$(sed -n 's/.*cuts_s=\([0-9]*\).*/\1/p' /proc/cmdline)
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
    step stress stress
    step lane lane
    # Sessions go by the cable: connections to v0's address come from v1's.
    /usr/bin/ip route replace local 10.9.0.1 dev v0 table local proto kernel scope host src 10.9.0.2
    step kernel_frames kernel_frames
    step kernel_tls kernel_tls
    step refusals refusals
    step programs programs
    step paged paged
    step two_clients two_clients
    step cut_cable cut_cable
    [ "$cuts_s" -gt 0 ] && step cuts cuts
    step servers servers
    step choice choice
    step stripes stripes
    step server_ends server_stop
    step figures figures
    [ -n "$wanted" ] && step tls_figures tls_figures
fi
say "over after $(uptime_s) s"
if [ -z "$failed" ]; then say passed; else say failed; fi
poweroff -f
