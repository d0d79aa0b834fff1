#!/bin/bash
# Runs what needs an RDMA device in a small virtual machine with a software one (rxe).
#
# usage: tests/rdma/run_vm.sh BUILD [--steps "NAME..."] [--cuts SECONDS]
#
# Builds an initramfs of the programs in BUILD, what they load, and the kernel of a Debian package
# that is downloaded into BUILD/rdma-vm and not installed; boots it under QEMU's own emulation and
# shows what tests/rdma/init.sh says there. Exit status 0: passed, 1: failed, 77: cannot be done
# here, and the last line says why. KVM is not used on purpose: stock kernels hang under a nested
# /dev/kvm on some hosts.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd)
shift
steps=
cuts=0
while [ $# -gt 0 ]; do
    case $1 in
    --steps) steps=$2; shift 2 ;;
    --cuts) cuts=$2; shift 2 ;; # the step of that name runs for so long, and else not at all
    *) echo "run_vm.sh: unknown argument $1" >&2; exit 2 ;;
    esac
done

skip() { echo "skip: $*"; exit 77; }
[ "$(uname -m)" = x86_64 ] || skip "the virtual machine is an x86_64 one"
PATH=$PATH:/usr/sbin:/sbin
for tool in qemu-system-x86_64 busybox cpio depmod modprobe ip rdma ibv_devinfo ib_write_lat apt-get dpkg-deb; do
    command -v $tool >/dev/null || skip "$tool is not installed (deploy/packages.sh, vm_packages)"
done
[ -e "$build/transport/libtransport.a" ] || skip "$build is no build"
[ -x "$build/tests/unit/transport/test_rdma_lane" ] || skip "this build leaves RDMA or the tests out"

vm=$build/rdma-vm
mkdir -p "$vm"

# -- the kernel ----------------------------------------------------------------------------------

kernel_get() {
    package=$(apt-cache depends linux-image-amd64 2>/dev/null |
        sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
    [ -n "$package" ] || return 1
    [ "$(cat "$vm/kernel/package" 2>/dev/null)" = "$package" ] && return 0
    rm -rf "$vm/kernel" "$vm"/*.deb
    mkdir "$vm/kernel"
    (cd "$vm" && apt-get download -qq "$package" >/dev/null 2>&1) || return 1
    dpkg-deb --fsys-tarfile "$vm"/linux-image-*.deb | tar -x -C "$vm/kernel" --wildcards \
        './boot/vmlinuz*' './lib/modules/*/modules.*' './lib/modules/*/kernel/drivers/infiniband/*' \
        './lib/modules/*/kernel/net/*' './lib/modules/*/kernel/drivers/net/*' \
        './lib/modules/*/kernel/crypto/*' './lib/modules/*/kernel/lib/*' \
        './lib/modules/*/kernel/arch/x86/crypto/*' './lib/modules/*/kernel/fs/configfs/*' || return 1
    rm -f "$vm"/*.deb
    depmod -b "$vm/kernel" "$(ls "$vm/kernel/lib/modules")" 2>/dev/null || return 1
    echo "$package" >"$vm/kernel/package"
}
kernel_get || skip "no kernel package can be had (apt-get download of linux-image-amd64's dependency)"
version=$(ls "$vm/kernel/lib/modules")

# -- its files -----------------------------------------------------------------------------------

tree=$vm/tree
rm -rf "$tree"
mkdir -p "$tree"/{bin,proc,sys,dev,tmp,run,etc,root,modules,programs,certs,lib64} "$tree/usr/bin"
cp "$(command -v busybox)" "$tree/bin/busybox"

# What a program or library loads, to where it looks for it.
with_libraries() {
    for file in "$@"; do
        ldd "$file" 2>/dev/null | grep -oE '/[^ ]+' || true
    done | sort -u | while read -r library; do
        mkdir -p "$tree$(dirname "$library")"
        [ -e "$tree$library" ] || cp -L "$library" "$tree$library"
    done
}
tools="$(command -v ip) $(command -v rdma) $(command -v ibv_devinfo) $(command -v ib_write_lat)
    $(command -v ib_write_bw) $(command -v ib_send_lat) $(command -v ib_read_bw)"
for tool in $tools; do cp -L "$tool" "$tree/usr/bin/"; done
providers=/usr/lib/x86_64-linux-gnu/libibverbs
mkdir -p "$tree$providers" "$tree/etc/libibverbs.d"
cp -L $providers/librxe-rdmav*.so "$tree$providers/"
cp /etc/libibverbs.d/rxe.driver "$tree/etc/libibverbs.d/"
libgcc=$(gcc -print-file-name=libgcc_s.so.1)
verbs=$(ldconfig -p | sed -n 's/.*libibverbs\.so\.1 .*=> //p' | head -n 1)
for library in "$libgcc" "$verbs"; do # loaded by name
    mkdir -p "$tree/usr/lib/x86_64-linux-gnu"
    cp -L "$library" "$tree/usr/lib/x86_64-linux-gnu/"
done
mkdir -p "$tree/lib"
ln -sfn ../usr/lib/x86_64-linux-gnu "$tree/lib/x86_64-linux-gnu"

own="tests/unit/transport/test_transport_frames tests/unit/transport/test_transport_link
    tests/unit/transport/test_rdma_lane tests/unit/transport/test_transport_stress
    bench/transport_floor backend/gpupoold frontend/tool/gpupool deploy/demo/gpupool-demo
    tests/programs/drv_bulk tests/programs/drv_bulk_order tests/programs/drv_copies tests/programs/drv_servers tests/chaos/exact"
ninja -C "$build" deploy/demo/gpupool-demo >/dev/null || exit 1 # the only one that is built on demand
for name in $own; do
    [ -e "$build/$name" ] || { echo "run_vm.sh: $name is not built" >&2; exit 1; }
    strip -o "$tree/programs/$(basename "$name")" "$build/$name"
    chmod +x "$tree/programs/$(basename "$name")"
done
mkdir -p "$tree/programs/client" "$tree/programs/soft"
strip -o "$tree/programs/client/libcuda.so.1" "$build/frontend/cuda/libcuda.so.1"
strip -o "$tree/programs/soft/libcuda.so.1" "$build/backend/driver/soft/libcuda.so.1"
# shellcheck disable=SC2086
with_libraries $tools "$providers"/librxe-rdmav*.so "$verbs" "$tree"/programs/* "$tree"/programs/*/*

modules=$vm/modules
for module in rdma_rxe crc32_generic ib_uverbs veth aesni_intel ghash_clmulni_intel gcm tls; do
    modprobe -d "$vm/kernel" -S "$version" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ {print $2}' >"$modules"
while read -r module; do cp "$module" "$tree/modules/"; done <"$modules"
sed 's,.*/,,' "$modules" >"$tree/modules/order"

"$root/deploy/certs.sh" "$tree/certs" --tenant alice --server-name 10.9.0.1 >/dev/null
chmod a+r "$tree"/certs/* # a step is nobody's
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/root:/bin/sh\n' >"$tree/etc/passwd"
printf '127.0.0.1 localhost\n' >"$tree/etc/hosts"
cp "$root/tests/rdma/init.sh" "$tree/init"
chmod +x "$tree/init"
(cd "$tree" && find . | cpio -o -H newc --quiet) >"$vm/initramfs"

# -- go ------------------------------------------------------------------------------------------

log=$vm/log
# no_timer_check: where this machine is busy its kernel finds that its timer does not work, and panics.
boot() {
    timeout "${VM_SECONDS:-480}" qemu-system-x86_64 -accel tcg,thread=multi -cpu max,-erms,-fsrm -smp 2 -m 1536 \
        -nographic -no-reboot -net none -kernel "$vm"/kernel/boot/vmlinuz-* -initrd "$vm/initramfs" \
        -append "console=ttyS0 panic=-1 quiet softlockup_panic=1 watchdog_thresh=20 mitigations=off no_timer_check nokaslr tsc=reliable clocksource=tsc steps=${steps// /,} cuts_s=$cuts" \
        </dev/null 2>&1 | tee "$vm/console" | tr -d "\r" | sed -un '/^vm: /,$p' | tee "$log" || true
}
boot
# Seen once in some thirty runs, right after the software device's first packets: a core of the
# machine that never leaves the kernel any more. No program does that to a kernel that is right.
if grep -q 'BUG: soft lockup' "$vm/console"; then
    cp "$vm/console" "$vm/console.lockup"
    echo "run_vm.sh: the machine's kernel stood still ($vm/console.lockup): once more"
    boot
fi
rm -rf "$tree" "$vm/initramfs"
grep -q '^vm: passed$' "$log" || exit 1
