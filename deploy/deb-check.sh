#!/bin/sh
# Installs, runs and purges the Debian packages in a fresh system, and leaves nothing.
#
# usage: deploy/deb-check.sh PACKAGE-DIR [SUITE]       as root; fetches a minimal system by debootstrap
#
# Exit status 0: a program found the server through the installed packages, and after the purge no
# file, user or folder of theirs was left.
set -eu

packages=$(cd "${1:?usage: deb-check.sh PACKAGE-DIR [SUITE]}" && pwd)
suite=${2:-bookworm}
[ "$(id -u)" = 0 ] || { echo "deb-check.sh: needs root" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "deb-check.sh: debootstrap is missing" >&2; exit 1; }

top=$(mktemp -d)
fresh=$top/root
cleanup() {
    umount "$fresh/proc" 2>/dev/null || true
    rm -rf --one-file-system "$top"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
debootstrap --variant=minbase --include=ca-certificates "$suite" "$fresh" >"$top/log" 2>&1 ||
    { tail -n 20 "$top/log"; exit 1; }
mount -t proc proc "$fresh/proc"
[ ! -f /etc/resolv.conf ] || cp /etc/resolv.conf "$fresh/etc/"
inside() { chroot "$fresh" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }

# listing NAME: what there is, but for what apt and dpkg keep for themselves
listing() {
    (cd "$fresh" && find etc usr var opt srv root home -xdev \( -path var/cache -o -path var/lib/apt -o -path var/lib/dpkg \
        -o -path var/log \) -prune -o -print | sort) >"$top/$1"
}
inside apt-get -qq update
# What they need stays; only their own files are looked for.
inside apt-get -qq -y install --no-install-recommends openssl >/dev/null
mkdir "$fresh/packages"
cp "$packages"/*.deb "$fresh/packages/"
depends=$(for deb in "$packages"/*.deb; do dpkg-deb -f "$deb" Depends; done | tr ',' '\n' | sed 's/^ *//;s/[ (|].*//' | sort -u)
# shellcheck disable=SC2046
inside apt-get -qq -y install --no-install-recommends $(for d in $(echo "$depends"); do echo "$d"; done) >/dev/null
listing before
cp "$fresh/etc/passwd" "$top/passwd"

inside sh -c 'dpkg -i /packages/*.deb' >"$top/log" 2>&1 || { cat "$top/log"; exit 1; }
inside getent passwd gpupool >/dev/null
inside gpupoold --version
inside gpupool version
cat >"$fresh/try.sh" <<'END'
set -eu
gpupool certs /lab --tenant alice --tenant ops >/dev/null
chgrp -R gpupool /lab; chmod -R g+rX /lab
mkdir -p /run/gpupool && chown gpupool:gpupool /run/gpupool
setpriv --reuid=gpupool --regid=gpupool --clear-groups env RUNTIME_DIRECTORY=/run/gpupool \
    gpupoold --driver soft --listen tls://127.0.0.1:7471 --tls-cert /lab/server.crt \
    --tls-key /lab/server.key --tls-ca /lab/ca.crt 2>/server.log &
server=$!
export GPUPOOL_SERVER=tls://127.0.0.1:7471 GPUPOOL_CERT=/lab/alice.crt GPUPOOL_KEY=/lab/alice.key GPUPOOL_CA=/lab/ca.crt
tries=0
until gpupool info >/info 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { cat /info /server.log; exit 1; }
    sleep 0.1
done
cat /info
gpupool doctor
gpupool get servers --socket /run/gpupool/admin.sock -o wide
kill $server
wait $server
END
inside sh /try.sh
rm -rf "$fresh/lab" "$fresh/try.sh" "$fresh/server.log" "$fresh/info"

inside sh -c 'dpkg --purge gpupool-server gpupool-client' >"$top/log" 2>&1 || { cat "$top/log"; exit 1; }
if grep -q warning "$top/log"; then
    cat "$top/log"
    exit 1
fi
listing after
# Backups of the user database, caches of manual pages and of the linker are not theirs.
if ! diff "$top/before" "$top/after" | grep '^[<>]' | grep -vE 'etc/(passwd|group|shadow|gshadow|subuid|subgid)-|ld.so.cache|__pycache__' >"$top/left"; then
    :
fi
if [ -s "$top/left" ] || ! cmp -s "$top/passwd" "$fresh/etc/passwd"; then
    echo "deb-check.sh: the purge left:" >&2
    cat "$top/left" >&2
    diff "$top/passwd" "$fresh/etc/passwd" >&2 || true
    exit 1
fi
echo "installed, ran and purged without a trace"
