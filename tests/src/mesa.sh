#!/usr/bin/env bash
# A software Vulkan device (Mesa's llvmpipe) out of Debian packages, for machines that have none.
#
# usage: mesa.sh PREFIX
#
# Afterwards PREFIX/vulkan.env has the variables, a line each, with which programs find the device. It is unpacked, not installed.
# Needs root (for apt's lock), apt and dpkg; changes nothing outside PREFIX except apt's package lists. May be interrupted anywhere
# and started again.
set -euo pipefail

prefix=$1
[[ ! -e $prefix/vulkan.env ]] || exit 0
mkdir -p "$prefix"

fail() {
    echo "mesa.sh: $*" >&2
    exit 1
}
for tool in apt-get dpkg tar; do
    command -v "$tool" >/dev/null || fail "found no \`$tool\`; expected it, or mesa-vulkan-drivers and libvulkan1 installed"
done
[[ $(id -u) == 0 ]] || fail "apt needs root; install mesa-vulkan-drivers and libvulkan1 yourself"

apt-get update -qq || echo "mesa.sh: apt-get update failed; going on with the package lists as they are"
packages=$prefix/mesa-packages
rm -rf "$packages"
mkdir -p "$packages/partial"
# Both packages, and of what they depend on whatever this machine does not have; again if they are installed, so that
# what is unpacked is complete.
apt-get install -y -qq --no-install-recommends --reinstall --download-only -o "Dir::Cache::Archives=$packages" \
    -o APT::Sandbox::User=root mesa-vulkan-drivers libvulkan1 >/dev/null \
    || fail "apt could not fetch mesa-vulkan-drivers and libvulkan1"
root=$prefix/mesa
rm -rf "$root"
mkdir -p "$root"
for package in "$packages"/*.deb; do
    dpkg --fsys-tarfile "$package" | tar -x -C "$root" --exclude='./usr/share/doc/*' --exclude='./usr/share/locale/*'
done
rm -rf "$packages"

library=$(echo "$root"/usr/lib/*-linux-gnu/libvulkan_lvp.so)
[[ -f $library ]] || fail "mesa-vulkan-drivers has no software device for this machine"
driver=$root/llvmpipe.json
printf '{"ICD": {"api_version": "1.3.0", "library_path": "%s"}, "file_format_version": "1.0.0"}\n' "$library" >"$driver"
{
    echo "LD_LIBRARY_PATH=$(dirname "$library")"
    echo "VK_ICD_FILENAMES=$driver"
    echo "VK_DRIVER_FILES=$driver"
} >"$prefix/vulkan.env.new"
mv "$prefix/vulkan.env.new" "$prefix/vulkan.env"
