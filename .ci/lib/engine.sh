# A Docker engine: the one that answers, or Debian's, started here for the length of this run.

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/hubbub
# One folder for pid and sockets, so that a run finds what an aborted one left. It is short: the path of a
# socket has at most 107 bytes.
ENGINE=/run/hubbub-ci

engine_answers() {
    docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}

# Root inside a container has neither the right to mount nor to make networks, as a rule.
engine_can_start() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && unshare --mount --net true 2>/dev/null
}

# Two runs on one machine would share the engine, the ports and the names. The turn ends with the process.
take_turn() {
    exec 9>"$ENGINE.lock"
    flock --nonblock 9 || say 'Waiting for another run of the container part ...'
    flock --wait 1800 9 || die 'containers: another run has taken more than half an hour'
}

# Where an engine can be had, anything that keeps it from answering is a failure.
ensure_engine() {
    if engine_answers; then return 0; fi
    install_missing dockerd docker.io
    install_missing docker docker-cli
    install_missing iptables iptables
    stop_engine
    start_engine
}

# install_missing PROGRAM PACKAGE, with its service kept from starting.
install_missing() {
    if command -v "$1" >/dev/null; then return 0; fi
    say "installing $2"
    mkdir -p "$CACHE"
    install_with_apt "$2" >"$CACHE/apt.log" 2>&1 ||
        { tail -n 5 "$CACHE/apt.log"; die "containers: apt-get install $2 failed, its log ends as above"; }
}

# Its images stay in the cache folder between runs, for as long as the machine is kept.
# A session of its own: Ctrl-C is for the script, which still needs the engine to tidy up.
start_engine() {
    local deadline=$((SECONDS + 60))
    mkdir -p "$CACHE/docker" "$ENGINE"
    setsid dockerd --data-root "$CACHE/docker" --exec-root "$ENGINE/exec" --pidfile "$ENGINE/pid" \
        --host "unix://$ENGINE/docker.sock" >"$CACHE/engine.log" 2>&1 9>&- &
    export DOCKER_HOST=unix://$ENGINE/docker.sock
    until engine_answers; do
        if ! kill -0 $! 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            tail -n 20 "$CACHE/engine.log"
            die 'containers: the Docker engine does not start, its log ends as above'
        fi
        sleep 0.5
    done
    docker info --format 'started the Docker engine {{.ServerVersion}}, {{.Driver}} in {{.DockerRootDir}}'
    # What an aborted run left, which the engine has started again.
    docker ps --all --quiet | xargs -r docker rm --force --volumes >/dev/null
    docker volume prune --force >/dev/null
    docker network prune --force >/dev/null
}

# Stops our engine, be it this run's or one that an aborted run left.
stop_engine() {
    local deadline=$((SECONDS + 30))
    kill "$(engine_pid)" 2>/dev/null || true
    while [ -n "$(engine_pid)" ] && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.1; done
    remove_remains
}

# A number may have found a new owner, so the command line is asked too.
engine_pid() {
    local pid
    pid=$(cat "$ENGINE/pid" 2>/dev/null) && grep -q "$ENGINE/exec" "/proc/$pid/cmdline" 2>/dev/null && printf '%s\n' "$pid"
}

# An engine that was killed leaves its containers, their keepers and their mounts, and the next one would wait
# for them in vain. The keepers name our folder in their command line; the containers are their children.
remove_remains() {
    local pid mount
    for pid in $(grep -l -a -F "$ENGINE/exec" /proc/[0-9]*/cmdline 2>/dev/null | cut -d / -f 3); do
        kill -KILL $(cat "/proc/$pid/task"/*/children 2>/dev/null) "$pid" 2>/dev/null || true
    done
    for mount in $(cut -d ' ' -f 2 /proc/mounts | grep -E "^($ENGINE|$CACHE/docker)(/|\$)" | sort -r); do
        umount --lazy "$mount" || true
    done
    rm -rf "$ENGINE"
}
