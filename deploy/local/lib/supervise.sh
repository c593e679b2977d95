# Starts processes, notices their end, starts them again, and stops them in order.
# One loop of one process does all of it: the shell that started them is their parent and reaps them.

stopping=''
waiting_for=''

# A signal only leaves a mark, and ends what we wait for: the code between two waits is never cut in half.
on_signal() {
    stopping=yes
    if [ -n "$waiting_for" ]; then kill "$waiting_for" 2>/dev/null; fi
}

# Runs a command that a signal to us ends too. (A shell handles a signal only between foreground commands.)
interruptibly() {
    local status=0
    "$@" &
    waiting_for=$!
    wait "$waiting_for" || status=$?
    waiting_for=''
    if [ -n "$stopping" ]; then exit 0; fi
    return "$status"
}

pause() {
    interruptibly sleep "$1" || true
}

pid_of() {
    cat "$RUN/$1.pid" 2>/dev/null || true
}

runs() {
    local pid
    pid=$(pid_of "$1")
    [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null
}

# Job control gives each process a group of its own, so that Ctrl-C reaches us alone and the order of the
# end stays ours to decide.
start() {
    local name=$1 log=$LOGS/$1.log
    roll_over "$log"
    set -m
    (
        set +m
        trap - INT TERM HUP
        case $name in
        redis-*) run_redis "$name" ;;
        postgres) run_postgres ;;
        *) run_service "$name" ;;
        esac
    ) </dev/null >>"$log" 2>&1 &
    set +m
    printf '%s\n' $! >"$RUN/$name.pid"
}

# A log that grew past 64 MiB is set aside once; the one before it goes.
roll_over() {
    if [ -f "$1" ] && [ "$(wc -c <"$1")" -gt 67108864 ]; then mv "$1" "$1.old"; fi
}

# Looks at every process once and starts again what has ended, a second later.
mend() {
    local name status ended=''
    for name in $(all_names); do
        if runs "$name"; then continue; fi
        status=0
        wait "$(pid_of "$name")" 2>/dev/null || status=$?
        note "$name ended ($(describe "$status")); starting it again in a second.$(disk_hint)"
        ended="$ended $name"
    done
    if [ -z "$ended" ]; then return 0; fi
    pause 1
    for name in $ended; do start "$name"; done
}

describe() {
    if [ "$1" -gt 128 ]; then printf 'signal %s' $(($1 - 128)); else printf 'status %s' "$1"; fi
}

# The services first, so that what was accepted is drained; then the stores that they need for that.
# By pid file: an earlier run may have had more processes than this one.
stop_in_order() {
    local seconds=$((${DRAIN_SECS:-5} + 10))
    stop TERM "$seconds" $(names_like 'api-*')
    stop TERM "$seconds" $(names_like 'fanout-worker-*') $(names_like 'persister-*')
    stop TERM 30 $(names_like 'redis-*')
    stop INT 30 $(names_like postgres)
}

names_like() {
    (cd "$RUN" && ls -d $1.pid 2>/dev/null | sed 's/\.pid$//')
}

# stop SIGNAL SECONDS NAME...: asks all of them, waits, and kills what is left.
stop() {
    local signal=$1 tries=$(($2 * 10)) name left=yes
    shift 2
    for name in "$@"; do kill "-$signal" "$(pid_of "$name")" 2>/dev/null || true; done
    while [ -n "$left" ] && [ "$tries" -gt 0 ]; do
        left=''
        for name in "$@"; do if runs "$name"; then left="$left $name"; fi; done
        if [ -n "$left" ]; then sleep 0.1; fi
        tries=$((tries - 1))
    done
    for name in $left; do
        note "$name did not stop in time and is killed."
        kill -KILL "$(pid_of "$name")" 2>/dev/null || true
    done
    for name in "$@"; do
        wait "$(pid_of "$name")" 2>/dev/null || true
        rm -f "$RUN/$name.pid"
    done
}

# Runs at every end of this script, a failed start included.
stop_everything() {
    local code=$?
    trap '' INT TERM HUP
    if [ -n "$(ls "$RUN" | grep -v '^up.pid$')" ]; then say 'Stopping ...'; fi
    stop_in_order
    rm -f "$STATE/env" "$RUN/up.pid"
    if [ "$code" = 0 ]; then say 'Stopped. The data stays in .local: make up goes on with it, make clean-local removes it.'; fi
}

# give_up NAME WHAT_IT_DID: its last words say why.
give_up() {
    tail -n 12 "$LOGS/$1.log" >&2
    die "$1 $2: its log, .local/log/$1.log, ends as above; mend that, then run this again.$(disk_hint)"
}

# wait_until NAME SECONDS COMMAND...: until the command succeeds. A service that ends meanwhile will not get
# better by itself; a store may, after an unclean end, so it gets its seconds.
wait_until() {
    local name=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@"; do
        if ! runs "$name"; then
            case $name in
            redis-* | postgres) start "$name" ;;
            *) give_up "$name" 'ended while starting' ;;
            esac
        fi
        if [ "$SECONDS" -ge "$deadline" ]; then give_up "$name" 'is not ready in time'; fi
        pause 0.3
    done
}
