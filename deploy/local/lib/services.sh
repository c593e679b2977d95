# Our own three services: where their binaries are, how they start, and when they are ready.

build_services() {
    if [ -n "${HUBBUB_BIN_DIR:-}" ]; then
        BIN=$HUBBUB_BIN_DIR
    else
        ensure_cargo
        BIN=${CARGO_TARGET_DIR:-$ROOT/target}/release
        refuse_if_disk_is_full "$ROOT" 3000
        say 'Building api, fanout-worker and persister (release; the first time takes some minutes) ...'
        interruptibly cargo build --release --locked --bin api --bin fanout-worker --bin persister ||
            die 'the build failed: its messages are above'
    fi
    local program
    for program in api fanout-worker persister; do
        [ -x "$BIN/$program" ] || die "$BIN/$program is missing: build it, or unset HUBBUB_BIN_DIR"
    done
}

migrate() {
    interruptibly "$BIN/api" migrate >"$LOGS/migrate.log" 2>&1 || give_up migrate 'failed'
}

run_service() {
    local name=$1 program=${1%-*} port
    port=$(internal_port "$name")
    export INTERNAL_LISTEN=127.0.0.1:$port INTERNAL_URL=http://127.0.0.1:$port
    if [ "$program" = api ]; then
        LISTEN=$(listen_addresses "$(public_port "$name")")
        export LISTEN
    fi
    cd "$ROOT" && exec "$BIN/$program"
}

# Many clients try ::1 first when they are told `localhost`.
listen_addresses() {
    printf '127.0.0.1:%s' "$1"
    if has_ipv6_loopback; then printf ',[::1]:%s' "$1"; fi
}

has_ipv6_loopback() {
    if [ -e /proc/net/if_inet6 ]; then grep -q '^0\{31\}1 ' /proc/net/if_inet6; else [ "$system" = Darwin ]; fi
}

is_ready() {
    [ "$(curl -s -o /dev/null -m 2 -w '%{http_code}' "http://127.0.0.1:$(internal_port "$1")/readyz")" = 200 ]
}
