#!/bin/sh
# Builds Debian packages of this tree: gpupool-client and gpupool-server.
#
# usage: deploy/deb.sh [--out DIR] [--build DIR]
#
# Needs what the build needs, and dpkg-dev. The packages land in DIR (default: build-deb/packages):
#   gpupool-client   the client's libraries in a private folder, the command gpupool
#   gpupool-server   gpupoold, the software device, systemd units, rules and dashboards
# Nothing of them lies in the linker's way: a machine's own libcuda stays as it is.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build-deb
out=
while [ $# -gt 0 ]; do
    case $1 in
    --out | --build)
        [ $# -ge 2 ] || { echo "deb.sh: $1 needs a folder" >&2; exit 2; }
        if [ "$1" = --out ]; then out=$2; else build=$2; fi
        shift 2
        ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "deb.sh: unknown argument $1" >&2; exit 2 ;;
    esac
done
[ -n "$out" ] || out=$build/packages
for tool in dpkg-deb dpkg-shlibdeps meson ninja; do
    command -v $tool >/dev/null || { echo "deb.sh: $tool is missing (dpkg-dev, meson, ninja-build)" >&2; exit 1; }
done

version=$(sed -n "s/^ *version: '\(.*\)',/\1/p" "$root/meson.build")-1
arch=$(dpkg --print-architecture)
multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH)

[ -f "$build/build.ninja" ] || meson setup "$build" "$root" --prefix=/usr --sysconfdir=/etc \
    --libexecdir=lib --libdir="lib/$multiarch" --buildtype=release --strip \
    -Dtests=disabled -Dnvcc=disabled -Dfuzzers=disabled >/dev/null
ninja -C "$build" >/dev/null
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
DESTDIR=$work/all meson install -C "$build" --no-rebuild >/dev/null
mkdir -p "$out"

# take PACKAGE PATH...: moves what was installed
take() {
    package=$1
    shift
    for path in "$@"; do
        mkdir -p "$work/$package/$(dirname "$path")"
        mv "$work/all/$path" "$work/$package/$path"
    done
}
take gpupool-client usr/bin/gpupool "usr/lib/$multiarch/gpupool/client" usr/lib/gpupool/certs.sh \
    usr/share/man/man1/gpupool.1 usr/share/bash-completion/completions/gpupool
take gpupool-server usr/sbin/gpupoold "usr/lib/$multiarch/gpupool/soft" usr/share/man/man8/gpupoold.8 \
    usr/share/gpupool/monitoring usr/share/doc/gpupool
left=$(find "$work/all" -type f)
[ -z "$left" ] || { echo "deb.sh: installed, and in no package: $left" >&2; exit 1; }

server=$work/gpupool-server
client=$work/gpupool-client
mkdir -p "$server/usr/lib/systemd/system" "$server/usr/lib/sysusers.d" "$server/usr/lib/tmpfiles.d" \
    "$server/etc/gpupool" "$client/etc/gpupool"
cp "$root/deploy/systemd/gpupoold.service" "$server/usr/lib/systemd/system/"
cp "$root/deploy/systemd/gpupool.sysusers" "$server/usr/lib/sysusers.d/gpupool.conf"
cp "$root/deploy/systemd/gpupool.tmpfiles" "$server/usr/lib/tmpfiles.d/gpupool.conf"
cp "$server/usr/share/doc/gpupool/server.ini" "$server/etc/gpupool/server.ini"
mv "$server/usr/share/doc/gpupool" "$server/usr/share/doc/gpupool-server"
cat >"$client/etc/gpupool/client.ini" <<END
# Where the pool is; client.crt, client.key and ca.crt lie beside this file. man gpupool
#[client]
#server = tls://gpu1.example.org:7470
END
for package in gpupool-client gpupool-server; do
    mkdir -p "$work/$package/usr/share/doc/$package" "$work/$package/DEBIAN"
    cp "$root/LICENSE" "$work/$package/usr/share/doc/$package/copyright"
    gzip -9n "$work/$package"/usr/share/man/man*/*
    (cd "$work/$package" && find etc -type f 2>/dev/null | sed 's,^,/,' >DEBIAN/conffiles)
    find "$work/$package" -type d -exec chmod 755 {} +
done

cat >"$server/DEBIAN/postinst" <<'END'
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers gpupool.conf
    elif ! getent passwd gpupool >/dev/null; then
        groupadd --system gpupool 2>/dev/null || true
        useradd --system --gid gpupool --home-dir /var/lib/gpupool --no-create-home \
            --shell /usr/sbin/nologin gpupool
    fi
    install -d -m 0750 -o root -g gpupool /etc/gpupool
    install -d -m 0700 -o gpupool -g gpupool /var/lib/gpupool
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        # The new one takes over the sockets; the old one goes on with its sessions.
        if systemctl -q is-active gpupoold.service; then
            systemctl kill --kill-who=main -s USR2 gpupoold.service
        fi
    fi
fi
END
cat >"$server/DEBIAN/prerm" <<'END'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now gpupoold.service
fi
END
cat >"$server/DEBIAN/postrm" <<'END'
#!/bin/sh
set -e
if [ "$1" = purge ]; then
    rm -rf /var/lib/gpupool
    rmdir --ignore-fail-on-non-empty /etc/gpupool 2>/dev/null || true
    if getent passwd gpupool >/dev/null; then userdel gpupool; fi
    if getent group gpupool >/dev/null; then groupdel gpupool; fi
fi
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
END
cat >"$client/DEBIAN/postrm" <<'END'
#!/bin/sh
set -e
if [ "$1" = purge ]; then rmdir --ignore-fail-on-non-empty /etc/gpupool 2>/dev/null || true; fi
END
chmod 755 "$server/DEBIAN/postinst" "$server/DEBIAN/prerm" "$server/DEBIAN/postrm" "$client/DEBIAN/postrm"

# depends PACKAGE: what its programs and libraries are linked with
depends() {
    mkdir -p "$work/deps/debian"
    printf 'Source: gpupool\n\nPackage: %s\nArchitecture: any\n' "$1" >"$work/deps/debian/control"
    elves=$(find "$work/$1" -type f \( -name '*.so*' -o -path '*/bin/*' -o -path '*/sbin/*' \) -exec printf -- '-e %s ' {} \;)
    # shellcheck disable=SC2086
    (cd "$work/deps" && dpkg-shlibdeps -O --ignore-missing-info $elves 2>/dev/null) |
        sed -n 's/^shlibs:Depends=//p'
}

# control PACKAGE DEPENDS TEXT
control() {
    cat >"$work/$1/DEBIAN/control" <<END
Package: $1
Version: $version
Architecture: $arch
Maintainer: gpupool
Section: utils
Priority: optional
Installed-Size: $(du -sk --exclude=DEBIAN "$work/$1" | cut -f1)
Depends: $(depends "$1")$2
Description: $3
END
}
control gpupool-client "" "use GPUs of a pool from a machine that has none
 The client's libcuda.so.1 and libnvidia-ml.so.1 in a private folder, and the
 command gpupool that starts programs with them and operates servers.
Recommends: openssl, bash-completion"
control gpupool-server ", passwd" "serve GPUs to remote programs
 gpupoold, its systemd unit, and a software device for machines without a GPU.
 It is not started by installation: certificates come first (gpupool certs).
Suggests: gpupool-client, etcd-server, prometheus"
# Fields are above the description.
for package in gpupool-client gpupool-server; do
    python3 - "$work/$package/DEBIAN/control" <<'END'
import sys
lines = open(sys.argv[1], encoding="utf-8").read().splitlines()
late = [line for line in lines if line.startswith(("Recommends:", "Suggests:"))]
lines = [line for line in lines if line not in late]
at = next(i for i, line in enumerate(lines) if line.startswith("Description:"))
open(sys.argv[1], "w", encoding="utf-8").write("\n".join(lines[:at] + late + lines[at:]) + "\n")
END
    (cd "$work/$package" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
    dpkg-deb --root-owner-group --build "$work/$package" "$out/${package}_${version}_$arch.deb" >/dev/null
    echo "$out/${package}_${version}_$arch.deb"
done
