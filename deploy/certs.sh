#!/bin/sh
# Makes certificates for a laboratory: an authority, a pool server, its clients.
#
# usage: deploy/certs.sh DIR [--tenant NAME]... [--server-name NAME|ADDRESS]... [--etcd NAME]... [--days N]
#
# Writes ca.crt ca.key, server.crt server.key, and NAME.crt NAME.key for each
# tenant (one named "client" where none is given) into DIR. An authority that is
# there already is kept and signs the new certificates, and certificates that are
# there are not replaced, so a second call only adds tenants. The server's is good
# for localhost, 127.0.0.1, ::1 and the names given. A tenant's name stands in the
# certificate as common name and as URI gpupool:tenant/NAME.
#
# --etcd NAME makes etcd-NAME.crt for an etcd member or one of its clients: good for both, for the
# server's names, and without a common name, which etcd's gateway refuses with its authentication.
#
# Not for production: the authority's key lies unprotected beside the rest.
set -eu

die() { echo "certs.sh: $*" >&2; exit 1; }
usage() { sed -n '4p' "$0" | sed 's/^# //'; }

dir=
days=30
tenants=
renew_server=
etcds=
names="DNS:localhost,IP:127.0.0.1,IP:::1"

while [ $# -gt 0 ]; do
    case $1 in
    --tenant)
        [ $# -ge 2 ] || die "--tenant needs a name"
        case $2 in
        '' | ca | server | *[!A-Za-z0-9._-]* | .*) die "'$2' is no name for a tenant" ;;
        esac
        tenants="$tenants $2"
        shift 2
        ;;
    --etcd)
        [ $# -ge 2 ] || die "--etcd needs a name"
        case $2 in '' | *[!A-Za-z0-9._-]* | .*) die "'$2' is no name" ;; esac
        etcds="$etcds $2"
        shift 2
        ;;
    --server-name)
        [ $# -ge 2 ] || die "--server-name needs a name"
        case $2 in
        *[!A-Za-z0-9.:_-]* | '') die "'$2' is neither a name nor an address" ;;
        *:* | [0-9]*.[0-9]*.[0-9]*.[0-9]*) names="$names,IP:$2" ;;
        *) names="$names,DNS:$2" ;;
        esac
        renew_server=yes
        shift 2
        ;;
    --days)
        [ $# -ge 2 ] || die "--days needs a number"
        case $2 in '' | *[!0-9]*) die "'$2' is no number of days" ;; esac
        days=$2
        shift 2
        ;;
    -h | --help) usage; exit 0 ;;
    -*) die "unknown option $1" ;;
    *)
        [ -z "$dir" ] || die "one directory only"
        dir=$1
        shift
        ;;
    esac
done
[ -n "$dir" ] || { usage >&2; exit 2; }
command -v openssl >/dev/null || die "the openssl command is missing (apt-get install openssl)"
[ -n "$tenants" ] || tenants=client

umask 077
mkdir -p "$dir"
work=$(mktemp -d "$dir/.new.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# Runs openssl quietly; its messages are shown when it fails.
ssl() {
    openssl "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; die "openssl $1 failed"; }
}

# new_key FILE
new_key() { ssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

# issue NAME SUBJECT USAGE ALTERNATIVE-NAMES: NAME.key and NAME.crt, signed by the authority
issue() {
    if [ -s "$dir/$1.crt" ] && [ -s "$dir/$1.key" ]; then
        return 0
    fi
    new_key "$work/$1.key"
    cat >"$work/$1.ext" <<END
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = $3
subjectAltName = $4
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END
    ssl req -new -key "$work/$1.key" -subj "$2" -out "$work/$1.csr"
    ssl x509 -req -in "$work/$1.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" \
        -set_serial "0x$(openssl rand -hex 16 | sed 's/^./1/')" -days "$days" -sha256 \
        -extfile "$work/$1.ext" -out "$work/$1.crt"
    mv "$work/$1.key" "$work/$1.crt" "$dir/"
}

if [ ! -s "$dir/ca.crt" ] || [ ! -s "$dir/ca.key" ]; then
    new_key "$work/ca.key"
    ssl req -x509 -new -key "$work/ca.key" -sha256 -days "$days" -subj "/CN=gpupool laboratory" \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" -out "$work/ca.crt"
    mv "$work/ca.key" "$work/ca.crt" "$dir/"
    rm -f "$dir/server.crt" # signed by an authority that is no more
fi
[ -z "$renew_server" ] || rm -f "$dir/server.crt"
issue server "/CN=gpupool server" serverAuth "$names"
for etcd in $etcds; do
    issue "etcd-$etcd" "/O=gpupool etcd $etcd" "serverAuth, clientAuth" "$names"
done
for tenant in $tenants; do
    issue "$tenant" "/CN=$tenant" clientAuth "URI:gpupool:tenant/$tenant"
done
