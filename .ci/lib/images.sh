# Images made from Debian's packages, since no image registry is needed that way: a plain Debian, one with the
# servers, and one with this machine's Rust.

IMAGE_BASE=hubbub-ci/debian:12
IMAGE_SERVERS=hubbub-ci/servers:12
# It holds the packages of one lock file, so it is made anew for another.
IMAGE_BUILD=hubbub-ci/rust:$(rustc --version | cut -d ' ' -f 2)-$(cksum <Cargo.lock | cut -d ' ' -f 1)

image_exists() {
    docker image inspect "$1" >/dev/null 2>&1
}

make_images() {
    local work
    if image_exists "$IMAGE_BASE" && image_exists "$IMAGE_SERVERS" && image_exists "$IMAGE_BUILD"; then
        printf 'images are there: %s %s %s\n' "$IMAGE_BASE" "$IMAGE_SERVERS" "$IMAGE_BUILD"
        return 0
    fi
    install_missing debootstrap debootstrap
    work=$(mktemp -d)
    debootstrap --variant=minbase --include=ca-certificates bookworm "$work/base" >"$work/log" 2>&1 || { tail -n 5 "$work/log"; return 1; }
    # Keeps services from starting while packages are configured.
    printf '#!/bin/sh\nexit 101\n' >"$work/base/usr/sbin/policy-rc.d"
    chmod 755 "$work/base/usr/sbin/policy-rc.d"
    import_image "$IMAGE_BASE" "$work/base"
    if ! image_exists "$IMAGE_SERVERS"; then make_servers_image "$work"; fi
    make_build_image "$work"
    rm -rf "$work"
}

# import_image NAME FOLDER [CHANGE...]
import_image() {
    local name=$1 folder=$2 changes=()
    shift 2
    for change in "$@"; do changes+=(--change "$change"); done
    tar -C "$folder" --exclude ./proc/* --exclude ./sys/* --exclude ./var/cache/apt/archives/*.deb -c . |
        docker import ${changes[@]+"${changes[@]}"} - "$name" >/dev/null
    printf 'imported %s\n' "$name"
}

# Redis and PostgreSQL in one, started like the well-known images of both: by command and by POSTGRES_*.
make_servers_image() {
    local root=$1/servers
    cp -a "$1/base" "$root"
    apt_in "$root" redis-server postgresql
    cp .ci/lib/servers-entrypoint "$root/usr/local/bin/servers-entrypoint"
    chmod 755 "$root/usr/local/bin/servers-entrypoint"
    mkdir -p "$root/data"
    import_image "$IMAGE_SERVERS" "$root" 'ENTRYPOINT ["servers-entrypoint"]' 'EXPOSE 5432 6379' \
        "ENV PATH=$(cd "$root" && ls -d usr/lib/postgresql/*/bin | sed 's:^:/:'):/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    rm -rf "$root"
}

# The toolchain and the packages that cargo has already fetched, so that the build asks no network.
make_build_image() {
    local root=$1/base toolchain
    docker images --quiet hubbub-ci/rust | xargs -r docker rmi --force >/dev/null 2>&1 || true
    apt_in "$root" gcc libc6-dev make
    toolchain=$(rustc --print sysroot)
    mkdir -p "$root/opt/rust" "$root/opt/cargo/registry"
    tar -C "$toolchain" --exclude ./share --exclude ./lib/rustlib/src -c . | tar -C "$root/opt/rust" -x
    cargo fetch --locked --quiet --target "$(rustc -vV | sed -n 's/^host: //p')"
    cp -a "${CARGO_HOME:-$HOME/.cargo}/registry/index" "${CARGO_HOME:-$HOME/.cargo}/registry/cache" "$root/opt/cargo/registry/"
    import_image "$IMAGE_BUILD" "$root" 'ENV PATH=/opt/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin CARGO_HOME=/opt/cargo CARGO_NET_OFFLINE=true'
}

apt_in() {
    local root=$1
    shift
    chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >"$root/tmp/apt.log" 2>&1 ||
        { tail -n 5 "$root/tmp/apt.log"; return 1; }
}
