#!/bin/sh
# Builds and tests everything that can be tested on this machine.
#
# usage: tests/run.sh [--only gcc|clang|asan|tsan]... [--fuzz-seconds N] [--no-install]
#
# Installs what is missing (apt, as root or with sudo), then: gcc build with all
# Meson tests, the quickstart, RDMA in a small virtual machine; clang build, and
# each fuzzer for 60 or 30 seconds; the quick suites again under AddressSanitizer with
# UndefinedBehaviorSanitizer, and under ThreadSanitizer.
# --only picks from these. Build trees are kept (build, build-clang,
# build-asan, build-tsan), so a second run is quick. The last line is
# "N passed, N failed, N skipped"; each skip is named with its reason. Exit
# status 0 when nothing failed.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
jobs=$(nproc)
only=
install=yes
fuzz_seconds=60

while [ $# -gt 0 ]; do
    case $1 in
    --only)
        case ${2:-} in
        gcc | clang | asan | tsan) only="$only $2" ;;
        *) echo "--only needs gcc, clang, asan or tsan" >&2; exit 2 ;;
        esac
        shift 2
        ;;
    --no-install) install=no; shift ;;
    --fuzz-seconds)
        case ${2:-} in '' | *[!0-9]*) echo "--fuzz-seconds needs a number" >&2; exit 2 ;; esac
        fuzz_seconds=$2
        shift 2
        ;;
    -h | --help) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "run.sh: unknown argument $1; try --help" >&2; exit 2 ;;
    esac
done

cd "$root"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM
results=$work/results
: >"$results"
began=$(date +%s)

step() { echo "== [$(($(date +%s) - began)) s] $*"; }
# record passed|failed|skipped NAME [REASON]
record() { printf '%s\t%s\t%s\n' "$1" "$2" "${3:-}" >>"$results"; }

# wanted STAGE: chosen by --only, or everything is
wanted() {
    case " $only " in "  " | *" $1 "*) return 0 ;; *) return 1 ;; esac
}

# shellcheck source=deploy/packages.sh
. "$root/deploy/packages.sh"
if [ "$install" = yes ]; then
    # shellcheck disable=SC2086
    install_missing $build_packages $demo_packages $test_packages || exit 1
    # shellcheck disable=SC2086
    if wanted gcc; then
        install_missing $vm_packages || true # tests/rdma says what is missing, and is skipped
    fi
fi

# configure TREE COMPILER MESON-OPTIONS...: when it is new, or something was installed
configure() {
    tree=$1
    compiler=$2
    shift 2
    if [ ! -f "$tree/build.ninja" ]; then
        CC=$compiler meson setup "$tree" "$@" >"$work/setup.log" 2>&1 || {
            cat "$work/setup.log"
            record failed "$tree: configure"
            return 1
        }
    elif [ -n "$installed" ]; then
        meson setup --reconfigure "$tree" >"$work/setup.log" 2>&1 || true # ninja tells
    fi
}

# build TREE COMPILER MESON-OPTIONS...: configures, and builds everything
build() {
    configure "$@" || return 1
    if ninja -C "$tree" -k 0 >"$work/build.log" 2>&1; then
        record passed "$tree: build"
    else
        grep -E -A5 'error: |FAILED: |undefined reference' "$work/build.log" | tail -n 60
        record failed "$tree: build"
        return 1
    fi
}

# run_tests TREE LABEL MESON-TEST-ARGUMENTS...: builds what these tests need, and runs them
run_tests() {
    tree=$1
    label=$2
    shift 2
    $around meson test -C "$tree" --logbase "run-$label" --num-processes "$jobs" "$@" \
        >"$work/$label.log" 2>&1 || true
    python3 tests/support/meson_results.py "$tree/meson-logs/run-$label.json" "$label" "$results" || {
        tail -n 30 "$work/$label.log"
        record failed "$label: meson test"
    }
}
around=
# RDMA needs a device: a software one in a small virtual machine.
run_vm() {
    tests/rdma/run_vm.sh build >"$work/vm.log" 2>&1 && rc=0 || rc=$?
    case $rc in
    0) record passed "rdma in a virtual machine" ;;
    77) record skipped "rdma in a virtual machine" "$(sed -n 's/^skip: //p' "$work/vm.log" | tail -n 1)" ;;
    *)
        tail -n 80 "$work/vm.log"
        record failed "rdma in a virtual machine"
        ;;
    esac
    grep '^figure: ' "$work/vm.log" || true
}
if wanted gcc; then
    step "gcc: build and all tests"
fi
if wanted gcc && build build gcc; then
    run_tests build all --timeout-multiplier 3
    step "the quickstart"
    if deploy/quickstart.sh --no-install >"$work/quickstart.log" 2>&1; then
        record passed "quickstart"
    else
        cat "$work/quickstart.log"
        record failed "quickstart"
    fi
    step "rdma in a virtual machine"
    run_vm
fi

# What every client or program can reach, for the whole time; the others for half of it.
fuzz_whole="dispatch frame hello image ptx"
# As many side by side: this is a look at each, for its time by the clock; a search takes hours.
fuzz_at_once=$((jobs * 5 / 2))

# One fuzzer for its time; a finding's input stays in build-clang/findings.
fuzz_one() {
    name=$(basename "$1")
    seconds=$((fuzz_seconds / 2))
    case " $fuzz_whole " in *" ${name#fuzz_} "*) seconds=$fuzz_seconds ;; esac
    seeds=tests/fuzz/seeds/${name#fuzz_}
    case $name in fuzz_ptx*) seeds=tests/programs/ptx ;; esac
    [ -d "$seeds" ] || seeds=
    dict=tests/fuzz/${name#fuzz_}.dict
    [ -f "$dict" ] || dict=
    mkdir -p "build-clang/corpus/$name" build-clang/findings
    if "$1" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 -print_final_stats=1 \
        -artifact_prefix="build-clang/findings/$name-" ${dict:+-dict="$dict"} \
        "build-clang/corpus/$name" ${seeds:+"$seeds"} >"$work/$name.log" 2>&1; then
        record passed "$name" "$(grep -o 'number_of_executed_units: *[0-9]*' "$work/$name.log")"
    else
        tail -n 40 "$work/$name.log"
        record failed "$name"
    fi
}

if wanted clang; then
    step "clang: build, fuzzers for $fuzz_seconds s, or half of it, each"
fi
if ! wanted clang; then
    :
elif ! command -v clang >/dev/null; then
    record skipped "clang build and fuzzers" "clang is not installed"
elif build build-clang clang -Doptimization=0 -Dnvcc=disabled || [ -d build-clang/tests/fuzz ]; then
    found=no
    running=0
    seen=" "
    # shellcheck disable=SC2086
    for fuzzer in $(printf 'build-clang/tests/fuzz/fuzz_%s ' $fuzz_whole) build-clang/tests/fuzz/fuzz_*; do
        case $seen in *" $fuzzer "*) continue ;; esac
        seen="$seen$fuzzer "
        if [ ! -x "$fuzzer" ] || [ -d "$fuzzer" ]; then
            continue
        fi
        found=yes
        fuzz_one "$fuzzer" &
        running=$((running + 1))
        if [ "$running" -ge "$fuzz_at_once" ]; then
            wait
            running=0
        fi
    done
    wait
    [ "$found" = yes ] || record skipped "fuzzers" "this clang has no libFuzzer"
fi

if wanted asan; then
    step "AddressSanitizer and UndefinedBehaviorSanitizer"
fi
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=0
# Criterion leaves 48 bytes behind for tests with a time limit.
echo leak:libcriterion >"$work/leaks"
export LSAN_OPTIONS=suppressions=$work/leaks:print_suppressions=0
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
# Not optimised: to compile that with these two takes longer than the tests.
if wanted asan && configure build-asan gcc -Doptimization=0 -Dnvcc=disabled -Db_sanitize=address,undefined \
    -Db_lundef=false; then
    # What measures parts of a device's time takes 40 s and runs no code that others do not.
    run_tests build-asan asan --timeout-multiplier 3 --suite unit --suite integration --suite asan --no-suite timing
fi

if wanted tsan; then
    step "ThreadSanitizer"
fi
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
# Its shadow memory needs the classic layout of the address space.
around="setarch $(uname -m) -R"
if ! wanted tsan; then
    :
elif ! $around true 2>/dev/null; then
    record skipped "ThreadSanitizer" "setarch -R is not allowed here"
elif configure build-tsan gcc -Dnvcc=disabled -Db_sanitize=thread -Db_lundef=false; then
    run_tests build-tsan tsan --timeout-multiplier 5 --suite tsan
fi

step "done"
python3 tests/support/summary.py "$results"
