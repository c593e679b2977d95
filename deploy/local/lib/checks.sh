# What can be known to fail is said before anything starts.

refuse_if_running() {
    local pid
    mkdir -p "$RUN" "$LOGS" 2>/dev/null || die "$STATE cannot be written: check its owner and the disk, then run this again"
    pid=$(pid_of up)
    if [ -n "$pid" ] && is_program "$pid" deploy/local/up; then
        die "already running as process $pid: stop that with Ctrl-C or kill $pid first"
    fi
    printf '%s\n' $$ >"$RUN/up.pid" || die "$RUN cannot be written: check its owner and the disk, then run this again"
}

# Whether a process is alive and its command line names this program: a number may have found a new owner.
is_program() {
    case $(command_line "$1") in
    *"$2"*) return 0 ;;
    esac
    return 1
}

# A bare Debian has no ps; macOS has no /proc.
command_line() {
    if [ -d /proc/self ]; then
        tr '\0' ' ' <"/proc/${1:-none}/cmdline"
    else
        ps -p "$1" -o args=
    fi 2>/dev/null
}

# A supervisor that was killed leaves its children behind; they are ours by pid file and by name.
stop_leftovers() {
    local file name pid left=''
    for file in "$RUN"/*.pid; do
        name=$(basename "$file" .pid)
        pid=$(pid_of "$name")
        if [ "$name" = up ] || [ ! -f "$file" ]; then continue; fi
        if is_program "$pid" "$(program_of "$name")"; then left="$left $name"; else rm -f "$file"; fi
    done
    if [ -z "$left" ]; then return 0; fi
    say "Stopping what an earlier run left behind:$left"
    stop_in_order
}

program_of() {
    case $1 in
    redis-*) printf 'redis-server' ;;
    postgres) printf 'postgres' ;;
    *) printf '%s' "${1%-*}" ;;
    esac
}

refuse_if_port_is_taken() {
    local name
    for name in $(numbered api "$API"); do refuse_port "$(public_port "$name")"; done
    for name in $(service_names); do refuse_port "$(internal_port "$name")"; done
    for name in "$LOG_PORT" "$BUS_PORT" "$POSTGRES_PORT"; do refuse_port "$name"; done
}

refuse_port() {
    if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then
        die "port $1 is taken: stop what listens there, or choose others with make up PORT=$((PORT + 2000))"
    fi
}

# refuse_if_disk_is_full FOLDER MEGABYTES
refuse_if_disk_is_full() {
    local free
    free=$(free_megabytes "$1")
    if [ "$free" -lt "$2" ]; then
        die "the disk of $1 is full: $free MB are free and $2 MB are needed; free some, then run this again"
    fi
}

free_megabytes() {
    df -Pk "$1" | awk 'NR == 2 { print int($4 / 1024) }'
}

disk_hint() {
    if [ "$(free_megabytes "$STATE")" -lt 20 ]; then
        printf ' The disk of %s is full: free some space.' "$STATE"
    fi
}
