# shellcheck shell=sh disable=SC2034,SC2086
# deploy/packages.sh -- installs Debian packages that are missing; sourced by scripts
#
# Where there is no apt, or no right to use it, the missing packages are named and
# the caller decides: install_missing then returns 1. What it installed stands in
# $installed.
installed=

# What the build needs, and what the demo and the tests need besides.
build_packages="gcc libc6-dev meson ninja-build pkg-config python3 libssl-dev libprotobuf-c-dev
    protobuf-c-compiler libinih-dev libzstd-dev liblz4-dev zlib1g-dev uthash-dev openssl libibverbs-dev
    libmicrohttpd-dev libcurl4-openssl-dev libjansson-dev"
demo_packages="libpng-dev"
test_packages="libcriterion-dev clang libpng-dev iproute2 etcd-server mandoc"
# For the virtual machine of tests/rdma, without which that is skipped.
vm_packages="qemu-system-x86 busybox-static cpio kmod iproute2 ibverbs-providers ibverbs-utils perftest"

# missing_packages NAME...: those that are not installed, on one line
missing_packages() {
    for p in "$@"; do
        case $(dpkg-query -W -f='${Status}' "$p" 2>/dev/null) in
        *" installed") ;;
        *) printf '%s ' "$p" ;;
        esac
    done
}

# install_missing NAME...
install_missing() {
    if ! command -v dpkg-query >/dev/null; then
        echo "note: no Debian packages here; these are expected to be present: $*"
        return 0
    fi
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    echo "installing with apt: $missing"
    installed=$missing
    as_root=
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
            echo "error: not allowed to install; as root: apt-get install $missing" >&2
            return 1
        fi
        as_root="sudo -n"
    fi
    # The lists are fetched only when the installed ones do not do.
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        $missing >/dev/null 2>&1 && return 0
    if $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends $missing >/dev/null; then
        return 0
    fi
    echo "error: apt-get install $missing failed" >&2
    return 1
}
