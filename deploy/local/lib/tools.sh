# Finds Redis and PostgreSQL, or installs them with the machine's own package manager.
# Only programs are looked for: services that the packages bring are neither used nor touched.
# (The Homebrew branch was written from its documentation and has not been run by the maintainers.)

system=$(uname -s)

# Prints the path of a program: on PATH, or where packages keep servers off PATH.
find_program() {
    command -v "$1" 2>/dev/null && return 0
    local path
    for path in $(ls -d /usr/lib/postgresql/*/bin /opt/homebrew/opt/*/bin /usr/local/opt/*/bin 2>/dev/null | sort -r); do
        if [ -x "$path/$1" ]; then
            printf '%s\n' "$path/$1"
            return 0
        fi
    done
    return 1
}

# ensure_program PROGRAM DEBIAN_PACKAGE HOMEBREW_FORMULA
ensure_program() {
    find_program "$1" >/dev/null && return 0
    install_package "$1" "$2" "$3"
    find_program "$1" >/dev/null || die "$1 is still missing after installing its package: install it by hand, then run this again"
}

install_package() {
    if [ "$system" = Darwin ]; then
        command -v brew >/dev/null || die "$1 is missing and so is Homebrew: install Homebrew, or put $1 on PATH, then run this again"
        say "Installing $3 with Homebrew, because $1 is missing ..."
        brew install "$3" || die "brew install $3 failed: install it by hand, then run this again"
    elif command -v apt-get >/dev/null; then
        say "Installing $2 with apt-get, because $1 is missing ..."
        install_with_apt "$2" || die "apt-get install $2 failed: install it by hand, then run this again"
    else
        die "$1 is missing: install your system's package for it (Debian calls it $2), then run this again"
    fi
}

# Packages may start their services when installed, on ports and data that are not ours to use: a policy file
# tells Debian's scripts not to, for the length of the installation.
install_with_apt() {
    local policy=/usr/sbin/policy-rc.d written='' status=0
    # In this shell, where it can end the script.
    as_root true || return 1
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root sh -c "cat >$policy && chmod 755 $policy" && written=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$1" </dev/null ||
        { as_root apt-get update -q </dev/null &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$1" </dev/null; } ||
        status=$?
    if [ -n "$written" ]; then as_root rm -f "$policy"; fi
    return $status
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "installing packages needs root, and there is no sudo: as root, run apt-get install redis-server postgresql curl, then run this again"
    fi
}

ensure_servers() {
    ensure_program redis-server redis-server redis
    ensure_program redis-cli redis-tools redis
    ensure_program postgres postgresql postgresql@17
    ensure_program curl curl curl
}

ensure_cargo() {
    command -v cargo >/dev/null && return 0
    [ -x "$HOME/.cargo/bin/cargo" ] && PATH="$HOME/.cargo/bin:$PATH" && return 0
    die "cargo is missing: install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml") or newer with rustup, then run this again"
}
