#!/usr/bin/env bash
# Emulators of Arm and RISC-V boards out of Debian packages, for machines that have none.
#
# usage: qemu.sh PREFIX
#
# Afterwards PREFIX/qemu-system-arm and PREFIX/qemu-system-riscv32 are emulators. They are unpacked, not installed: installing them may want
# to replace other parts of QEMU. Needs root (for apt's lock), apt and dpkg; changes nothing outside PREFIX except apt's package
# lists. May be interrupted anywhere and started again.
set -euo pipefail

prefix=$1
stamp=$prefix/qemu-complete
[[ ! -e $stamp ]] || exit 0
mkdir -p "$prefix"

fail() {
    echo "qemu.sh: $*" >&2
    exit 1
}
for tool in apt-get dpkg tar; do
    command -v "$tool" >/dev/null || fail "found no \`$tool\`; expected it, or qemu-system-arm and qemu-system-riscv32 on the path"
done
[[ $(id -u) == 0 ]] || fail "apt needs root; install qemu-system-arm and qemu-system-riscv32 yourself"

apt-get update -qq || echo "qemu.sh: apt-get update failed; going on with the package lists as they are"
packages=$prefix/qemu-packages
rm -rf "$packages"
mkdir -p "$packages/partial"
# Both packages, and of what they depend on whatever this machine does not have.
apt-get install -y -qq --no-install-recommends --download-only -o "Dir::Cache::Archives=$packages" -o APT::Sandbox::User=root \
    qemu-system-arm qemu-system-misc >/dev/null || fail "apt could not fetch qemu-system-arm and qemu-system-misc"
root=$prefix/qemu
rm -rf "$root"
mkdir -p "$root"
for package in "$packages"/*.deb; do
    dpkg --fsys-tarfile "$package" | tar -x -C "$root" --exclude='./usr/share/doc/*' --exclude='./usr/share/locale/*'
done
rm -rf "$packages"

libraries=$(echo "$root"/usr/lib/*-linux-gnu):$(echo "$root"/lib/*-linux-gnu)
for architecture in arm riscv32; do
    cat >"$prefix/qemu-system-$architecture" <<WRAPPER
#!/bin/sh
LD_LIBRARY_PATH='$libraries' exec '$root/usr/bin/qemu-system-$architecture' -L '$root/usr/share/qemu' "\$@"
WRAPPER
    chmod +x "$prefix/qemu-system-$architecture"
    "$prefix/qemu-system-$architecture" --version >/dev/null || fail "the unpacked qemu-system-$architecture does not start"
done
touch "$stamp"
