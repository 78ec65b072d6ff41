# What the scripts beside this one share; they source it from the repository's root.
# shellcheck shell=bash

say() { printf '\n== %s\n' "$*"; }
fail() {
    printf '\nscripts/%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# A fresh rustup is not yet in the PATH of every shell.
command -v cargo >/dev/null || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

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
