# A Docker engine: the one that answers, or Debian's, started here for the length of this run.

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/hubbub
ENGINE_DIR=''

engine_answers() {
    docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}

# Succeeds once an engine answers. Needs root and Debian to start one.
ensure_engine() {
    if engine_answers; then return 0; fi
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    install_missing dockerd docker.io && install_missing iptables iptables || return 1
    start_engine
}

# install_missing PROGRAM PACKAGE, with its service kept from starting.
install_missing() {
    command -v "$1" >/dev/null && return 0
    install_with_apt "$2"
}

# Its images stay in the cache folder between runs, for as long as the machine is kept.
start_engine() {
    local tries=60
    ENGINE_DIR=$(mktemp -d)
    mkdir -p "$CACHE/docker"
    dockerd --data-root "$CACHE/docker" --exec-root "$ENGINE_DIR/exec" --pidfile "$ENGINE_DIR/pid" \
        --host "unix://$ENGINE_DIR/docker.sock" >"$ENGINE_DIR/log" 2>&1 &
    export DOCKER_HOST="unix://$ENGINE_DIR/docker.sock"
    until engine_answers; do
        tries=$((tries - 1))
        if [ "$tries" = 0 ]; then
            tail -n 5 "$ENGINE_DIR/log"
            return 1
        fi
        sleep 0.5
    done
    printf 'started the Docker engine %s\n' "$(docker version --format '{{.Server.Version}}')"
}

stop_engine() {
    if [ -n "$ENGINE_DIR" ] && [ -f "$ENGINE_DIR/pid" ]; then
        kill "$(cat "$ENGINE_DIR/pid")" 2>/dev/null || true
        wait || true
        rm -rf "$ENGINE_DIR"
    fi
}
