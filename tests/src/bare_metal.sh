#!/usr/bin/env bash
# A compiler for bare metal out of Debian packages, for machines where `rustup target add` has nothing to fetch.
#
# usage: bare_metal.sh PREFIX TARGET...
#
# Afterwards PREFIX/rustc is a compiler and PREFIX/sysroot holds, for each target, `core` and `compiler_builtins` and
# nothing else: a crate that asks for `alloc` does not compile. Needs apt, dpkg and a stable cargo; changes nothing
# outside PREFIX except, where it may, apt's package lists. May be interrupted anywhere and started again.
set -euo pipefail

# The library's source must be that of the compiler, so both come from Debian's pair of packages.
PINNED=1.96.0+dfsg1-1~deb12u2

prefix=$1
shift
targets=("$@")
stamp=$prefix/complete
libraries=$prefix/sysroot/lib/rustlib
missing() {
    for target in "${targets[@]}"; do
        [[ -d $libraries/$target/lib ]] || echo "$target"
    done
}
if [[ -f $stamp && $(<"$stamp") == "$PINNED"* && -z $(missing) ]]; then
    exit 0
fi
rm -f "$stamp"
mkdir -p "$prefix"

fail() {
    echo "bare_metal.sh: $*" >&2
    exit 1
}
say() { echo "bare_metal.sh: $*"; }
for tool in apt-get apt-cache dpkg tar "${CARGO:=cargo}"; do
    command -v "$tool" >/dev/null || fail "found no \`$tool\`, which the Debian way needs"
done

# --- the version -----------------------------------------------------------------------------------------------------

if [[ $(id -u) == 0 ]]; then
    apt-get update -qq || say "apt-get update failed; going on with the package lists as they are"
fi
offers() { apt-cache show "$1=$2" >/dev/null 2>&1; }
version=$PINNED
if ! offers rustc-web "$version" || ! offers rust-web-src "$version"; then
    version=$(apt-cache policy rust-web-src | sed -n 's/^ *Candidate: //p')
    [[ -n $version && $version != "(none)" ]] || fail "apt offers no rust-web-src; expected $PINNED or another"
    offers rustc-web "$version" || fail "apt offers rust-web-src $version but no rustc-web of that version"
    say "$PINNED is gone; taking $version"
fi

# --- packages: rustc-web, rust-web-src, and what of the former's dependencies is its own ------------------------------

# Prints the dependencies of package $1 (at version $2, if given) that belong to the compiler.
own_dependencies() {
    apt-cache show --no-all-versions "$1${2:+=$2}" | sed -n 's/^Depends: //p' | tr ',|' '\n\n' |
        awk '{ print $1 }' | grep -E '^(libstd-rust-web|libllvm)' || true
}
packages=("rustc-web=$version" "rust-web-src=$version")
queue=(rustc-web)
seen=" rustc-web "
while ((${#queue[@]})); do
    package=${queue[0]}
    queue=("${queue[@]:1}")
    of_version=$version
    [[ $package == libllvm* ]] && of_version=
    for dependency in $(own_dependencies "$package" "$of_version"); do
        [[ $seen == *" $dependency "* ]] && continue
        seen+="$dependency "
        queue+=("$dependency")
        if [[ $dependency == libllvm* ]]; then packages+=("$dependency"); else packages+=("$dependency=$version"); fi
    done
done

# --- unpack ------------------------------------------------------------------------------------------------------------

root=$prefix/root-$version
if [[ ! -d $root ]]; then
    say "fetching ${packages[*]}"
    mkdir -p "$prefix/packages"
    # apt drops its rights for downloads; as root into a private folder it cannot and says so at length.
    (cd "$prefix/packages" && apt-get download -qq -o APT::Sandbox::User=root "${packages[@]}") ||
        fail "apt-get download failed"
    # What was built with another version of the compiler is of no use to this one.
    rm -rf "$root.partial" "$prefix/sysroot"
    mkdir -p "$root.partial"
    for package in "$prefix"/packages/*.deb; do
        # The compiler's own source is in the package too; only the library's is wanted.
        dpkg --fsys-tarfile "$package" | tar -x -C "$root.partial" --no-wildcards-match-slash \
            --exclude='./usr/src/rustc-*/src' --exclude='./usr/src/rustc-*/compiler' --exclude='./usr/share/doc/*'
    done
    mv "$root.partial" "$root"
    rm -rf "$prefix/packages"
fi

shared=$(echo "$root"/usr/lib/*-linux-gnu)
cat >"$prefix/rustc" <<WRAPPER
#!/bin/sh
LD_LIBRARY_PATH='$shared' exec '$root/usr/bin/rustc' "\$@"
WRAPPER
chmod +x "$prefix/rustc"
"$prefix/rustc" -vV >/dev/null || fail "the unpacked compiler does not start (a shared library above may be missing)"

# --- the sysroot: built once, then projects build with stable means -----------------------------------------------------

library=$(echo "$root"/usr/src/rustc-*/library)
[[ -d $library/vendor ]] || fail "found no vendored library source in $library, expected library/vendor"
seed=$prefix/seed
mkdir -p "$seed/src"
cat >"$seed/Cargo.toml" <<'MANIFEST'
[package]
name = "seed"
version = "0.0.0"
edition = "2021"
[profile.release]
panic = "abort"
[workspace]
MANIFEST
echo '#![no_std]' >"$seed/src/lib.rs"
for target in $(missing); do
    say "building core for $target"
    # The vendored crates stand in for the registry: cargo resolves all of std's lock file even for core alone.
    (cd "$seed" && env -u CARGO_TARGET_DIR -u CARGO_ENCODED_RUSTFLAGS RUSTC="$prefix/rustc" RUSTC_BOOTSTRAP=1 \
        RUSTFLAGS=-Cembed-bitcode=yes CARGO_HOME="$seed/cargo-home" \
        "$CARGO" build --release --offline --quiet --target "$target" -Zbuild-std=core,compiler_builtins \
        --config 'source.crates-io.replace-with="vendored"' \
        --config "source.vendored.directory=\"$library/vendor\"") || fail "building core for $target failed"
    rm -rf "$libraries/$target"
    mkdir -p "$libraries/$target/partial"
    for crate in core compiler_builtins; do
        cp "$seed/target/$target/release/deps/lib$crate"-*.rlib "$libraries/$target/partial/"
    done
    mv "$libraries/$target/partial" "$libraries/$target/lib"
done
rm -rf "$seed"
echo "$PINNED ${targets[*]}" >"$stamp"
say "complete in $prefix"
