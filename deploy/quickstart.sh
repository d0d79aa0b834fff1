#!/bin/sh
# Builds gpupool, starts a pool server on this machine, and computes on it.
#
# usage: deploy/quickstart.sh [--driver auto|cuda|soft] [--picture FILE] [--no-install]
#
# Needs nothing but Debian 12 (packages that are missing are installed by apt when
# run as root or with sudo). Certificates are thrown away at the end, the server
# listens on a loopback port that the kernel chooses, and nothing is installed
# besides the packages. Exit status 0 means that every result was right.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build
driver=auto
picture=
install=yes
daemon=
work=

die() { echo "quickstart: $*" >&2; exit 1; }
step() { echo "== $*"; }

while [ $# -gt 0 ]; do
    case $1 in
    --driver) [ $# -ge 2 ] || die "--driver needs auto, cuda or soft"; driver=$2; shift 2 ;;
    --picture) [ $# -ge 2 ] || die "--picture needs a file name"; picture=$2; shift 2 ;;
    --no-install) install=no; shift ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) die "unknown argument $1; try --help" ;;
    esac
done
case $driver in auto | cuda | soft) ;; *) die "--driver is auto, cuda or soft, not $driver" ;; esac
[ -n "$picture" ] || picture=$build/gpupool-demo.png

cleanup() {
    status=$?
    trap - EXIT HUP INT TERM
    if [ -n "$daemon" ] && kill "$daemon" 2>/dev/null; then
        wait "$daemon" 2>/dev/null || true
    fi
    if [ -n "$work" ]; then
        rm -rf "$work"
    fi
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM

work=$(mktemp -d)

# shellcheck source=deploy/packages.sh
. "$root/deploy/packages.sh"
if [ "$install" = yes ]; then
    # shellcheck disable=SC2086
    install_missing $build_packages $demo_packages || die "packages are missing"
fi

find_nvcc() { command -v nvcc || { [ -x /usr/local/cuda/bin/nvcc ] && echo /usr/local/cuda/bin/nvcc; }; }
nvcc=$(find_nvcc || true)

step "building"
cd "$root"
if [ ! -f "$build/build.ninja" ]; then
    meson setup "$build" >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; die "meson failed"; }
fi
targets="backend/gpupoold frontend/tool/gpupool frontend/cuda/libcuda.so.1
    backend/driver/soft/libcuda.so.1 deploy/demo/gpupool-demo"
[ -z "$nvcc" ] || targets="$targets deploy/demo/gpupool-demo-cu"
# shellcheck disable=SC2086
ninja -C "$build" $targets >"$work/build.log" 2>&1 || {
    tail -n 40 "$work/build.log" >&2
    die "the build failed"
}

soft=$build/backend/driver/soft/libcuda.so.1
has_nvidia() {
    { [ -e /dev/nvidiactl ] || [ -e /dev/dxg ]; } &&
        { ldconfig -p 2>/dev/null || /sbin/ldconfig -p; } | grep -q 'libcuda\.so\.1'
}
if [ "$driver" = auto ]; then
    if has_nvidia; then driver=cuda; else driver=soft; fi
fi
if [ "$driver" = soft ]; then
    step "no NVIDIA driver is used: the server computes on the software device, on this CPU"
    driver_arg=$soft
else
    step "the server uses the NVIDIA driver of this machine"
    driver_arg=cuda
fi

step "making certificates and starting the server"
certs=$work/certs
"$root/deploy/certs.sh" "$certs" --tenant demo
mkfifo "$work/ready"
"$build/backend/gpupoold" --driver "$driver_arg" --listen tls://127.0.0.1:0 \
    --tls-cert "$certs/server.crt" --tls-key "$certs/server.key" --tls-ca "$certs/ca.crt" \
    --ready-fd 3 --exit-with-parent 3>"$work/ready" >"$work/server.log" 2>&1 &
daemon=$!
url=$(timeout 30 head -n 1 "$work/ready") || true
if [ -z "$url" ]; then
    tail -n 20 "$work/server.log" >&2
    die "the server did not start"
fi
echo "   $url, mutual TLS"

# as_client NAME PROGRAM ARGS...: through the pool; output and figures in $work/NAME.*
as_client() {
    name=$1
    shift
    began=$(date +%s%N)
    HOME=$work GPUPOOL_STATS=1 GPUPOOL_CERT=$certs/demo.crt GPUPOOL_KEY=$certs/demo.key \
        GPUPOOL_CA=$certs/ca.crt timeout 300 \
        "$build/frontend/tool/gpupool" run --server "$url" -- "$@" \
        >"$work/$name.out" 2>"$work/$name.err" && rc=0 || rc=$?
    echo "gpupool-stats: wall_ms $((($(date +%s%N) - began) / 1000000))" >>"$work/$name.err"
    sed 's/^/   /' "$work/$name.out"
    grep -v '^gpupool-stats: ' "$work/$name.err" | sed 's/^/   /' >&2 || true
    if [ "$rc" != 0 ]; then
        echo "   server's log:" >&2
        tail -n 20 "$work/server.log" | sed 's/^/   /' >&2
        case $rc in
        1) die "$name: wrong results" ;;
        124) die "$name: did not end within 300 s" ;;
        *) die "$name: failed with status $rc" ;;
        esac
    fi
}

step "a C program on the driver API, its kernels PTX written by hand, draws a picture"
as_client picture "$build/deploy/demo/gpupool-demo" "$picture"
if [ -n "$nvcc" ]; then
    step "a CUDA program built by nvcc with its defaults"
    as_client cuda "$build/deploy/demo/gpupool-demo-cu"
else
    step "no nvcc on this machine: the CUDA C++ program is left out"
fi

kill "$daemon"
wait "$daemon" && rc=0 || rc=$?
daemon=
[ "$rc" = 0 ] || { tail -n 20 "$work/server.log" >&2; die "the server ended with status $rc"; }

stat_of() {
    [ -f "$work/$1.err" ] || { echo -; return; }
    value=$(sed -n "s/^gpupool-stats: $2 //p" "$work/$1.err" | head -n 1)
    echo "${value:--}"
}
row() { printf '%-22s %-30s %s\n' "$1" "$(stat_of picture "$2")" "$(stat_of cuda "$2")"; }

step "all results right"
printf '%-22s %-30s %s\n' "" "picture (C, driver API)" "heat (nvcc)"
row "device" device
row "driver" driver
row "transport" transport
row "cipher" cipher
row "calls" calls
row "exposed round trips" exposed_round_trips
row "bytes sent" bytes_sent
row "bytes received" bytes_received
row "time waited, us" waited_us
row "time in all, ms" wall_ms
printf '%-22s %s\n' "picture" "$picture"
