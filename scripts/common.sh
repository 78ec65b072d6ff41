# What the scripts beside this one share; they source it from the repository's root.
# shellcheck shell=bash

say() { printf '\n== %s\n' "$*"; }
fail() {
    printf '\nscripts/%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# A fresh rustup is not yet in the PATH of every shell.
command -v cargo >/dev/null || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

# Where it is missing, as on a machine without a desktop, Mesa's drivers complain with every adapter that they open.
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/tmp}"

as_root() {
    if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

packages_updated=
update_packages() {
    [[ -n $packages_updated ]] || as_root apt-get -qq update >&2 || say 'apt-get update failed; trying with the package lists that are there'
    packages_updated=1
}

# Installs those PACKAGES that are missing. `remedy` says what else helps.
install() {
    local missing=() package
    for package in "$@"; do
        dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    command -v apt-get >/dev/null || fail "no apt-get here to install ${missing[*]} with${remedy:+; $remedy}"
    say "Installing ${missing[*]}"
    update_packages
    as_root env DEBIAN_FRONTEND=noninteractive apt-get --yes -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 \
        install --no-install-recommends "${missing[@]}" >&2 ||
        fail "${missing[*]} could not be installed (see above)${remedy:+; $remedy}"
}

# What the feature mpi needs.
install_mpi() {
    command -v mpirun >/dev/null && command -v mpicc >/dev/null && compgen -G '/usr/lib/llvm*/lib/libclang*.so*' >/dev/null ||
        remedy='the feature mpi needs an MPI library, libclang and pkg-config' \
            install libopenmpi-dev openmpi-bin libclang-dev pkg-config
}

# What scripts/test builds, with every feature that is tested; whoever needs a part of it builds nothing twice with these options.
everything=(--workspace --features spikegrad/mpi)

# Sets `wasm_options`, which make cargo compile for browsers, and the environment that it takes. The standard library of
# wasm32-unknown-unknown is added by rustup; without rustup, on Debian, it is built from the sources of rust-web-src by rustc-web,
# both of Debian's security archive.
for_wasm() {
    local target=wasm32-unknown-unknown
    wasm_options=(--target "$target")
    if [[ -d $(rustc --print sysroot)/lib/rustlib/$target ]]; then
        :
    elif command -v rustup >/dev/null; then
        rustup target add "$target" || fail "rustup could not add $target (see above)"
    else
        remedy="install Rust from https://rustup.rs" install rustc-web cargo-web rust-web-src lld-22
        # Building the standard library is not stable yet; Debian's compiler is allowed to by this variable alone.
        export RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1
        export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=/usr/bin/wasm-ld-22
        wasm_options+=(-Zbuild-std=std,panic_abort)
    fi
}
