# Images made from Debian's packages, since no image registry is needed that way: a plain Debian, one with the
# servers, and one with this machine's Rust. Each is named after what it is made from, and is made anew when
# that has changed.

sum_of() {
    cat "$@" | cksum | cut -d ' ' -f 1
}

IMAGE_BASE=hubbub-ci/debian:$(sum_of .ci/lib/images.sh)
IMAGE_SERVERS=hubbub-ci/servers:$(sum_of .ci/lib/images.sh .ci/lib/servers-entrypoint)
# It holds the packages of one lock file.
IMAGE_BUILD=hubbub-ci/rust:$(rustc --version | cut -d ' ' -f 2)-$(sum_of .ci/lib/images.sh Cargo.lock)
# The Dockerfile's build stage, by a name that keeps its layers for the next run.
IMAGE_STAGE=hubbub-ci/stage:latest
# Roots are put together in here, in the cache folder because /tmp may be memory.
SCRATCH=$CACHE/images.work

image_exists() {
    docker image inspect "$1" >/dev/null 2>&1
}

make_images() {
    if image_exists "$IMAGE_BASE" && image_exists "$IMAGE_SERVERS" && image_exists "$IMAGE_BUILD"; then
        say "images are there: $IMAGE_BASE $IMAGE_SERVERS $IMAGE_BUILD"
        return 0
    fi
    install_missing debootstrap debootstrap
    remove_scratch
    mkdir -p "$SCRATCH"
    debootstrap --variant=minbase --include=ca-certificates bookworm "$SCRATCH/base" >"$SCRATCH/log" 2>&1 ||
        { tail -n 5 "$SCRATCH/log"; die 'containers: debootstrap failed, its log ends as above'; }
    # Keeps services from starting while packages are configured.
    printf '#!/bin/sh\nexit 101\n' >"$SCRATCH/base/usr/sbin/policy-rc.d"
    chmod 755 "$SCRATCH/base/usr/sbin/policy-rc.d"
    image_exists "$IMAGE_BASE" || import_image "$IMAGE_BASE" "$SCRATCH/base"
    if ! image_exists "$IMAGE_SERVERS"; then make_servers_image "$SCRATCH/servers"; fi
    if ! image_exists "$IMAGE_BUILD"; then make_build_image "$SCRATCH/base"; fi
    remove_scratch
}

remove_scratch() {
    rm -rf "$SCRATCH"
}

# What earlier runs left and this one has not used.
remove_old_images() {
    local image
    for image in $(docker images --format '{{.Repository}}:{{.Tag}}' 'hubbub-ci/*'); do
        case $image in
        "$IMAGE_BASE" | "$IMAGE_SERVERS" | "$IMAGE_BUILD" | "$IMAGE_STAGE") ;;
        *) docker rmi "$image" >/dev/null 2>&1 || true ;;
        esac
    done
    docker image prune --force >/dev/null
}

# import_image NAME FOLDER [CHANGE...]
import_image() {
    local name=$1 folder=$2 changes=()
    shift 2
    for change in "$@"; do changes+=(--change "$change"); done
    tar -C "$folder" --exclude './proc/*' --exclude './sys/*' --exclude './var/cache/apt/archives/*.deb' -c . |
        docker import ${changes[@]+"${changes[@]}"} - "$name" >/dev/null
    say "imported $name"
}

# Redis and PostgreSQL in one, started like the well-known images of both: by command and by POSTGRES_*.
make_servers_image() {
    local root=$1
    cp -a "$SCRATCH/base" "$root"
    apt_in "$root" redis-server postgresql
    cp .ci/lib/servers-entrypoint "$root/usr/local/bin/servers-entrypoint"
    chmod 755 "$root/usr/local/bin/servers-entrypoint"
    mkdir -p "$root/data"
    import_image "$IMAGE_SERVERS" "$root" 'ENTRYPOINT ["servers-entrypoint"]' 'EXPOSE 5432 6379' \
        "ENV PATH=$(cd "$root" && ls -d usr/lib/postgresql/*/bin | sed 's:^:/:'):/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}

# The toolchain and the packages that cargo has already fetched, so that the build asks no network.
make_build_image() {
    local root=$1 toolchain registry=${CARGO_HOME:-$HOME/.cargo}/registry
    apt_in "$root" gcc libc6-dev make
    toolchain=$(rustc --print sysroot)
    mkdir -p "$root/opt/rust" "$root/opt/cargo/registry"
    tar -C "$toolchain" --exclude ./share --exclude ./lib/rustlib/src -c . | tar -C "$root/opt/rust" -x
    cargo fetch --locked --quiet --target "$(rustc -vV | sed -n 's/^host: //p')"
    cp -a "$registry/index" "$registry/cache" "$root/opt/cargo/registry/"
    import_image "$IMAGE_BUILD" "$root" 'ENV PATH=/opt/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin CARGO_HOME=/opt/cargo CARGO_NET_OFFLINE=true'
}

apt_in() {
    local root=$1
    shift
    chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >"$root/tmp/apt.log" 2>&1 ||
        { tail -n 5 "$root/tmp/apt.log"; die "containers: apt-get install $* failed in an image, its log ends as above"; }
}
