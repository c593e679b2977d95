# What the scripts tell the person in front of them. Sourced, never run.

say() {
    printf '%s\n' "$*"
}

# One line that says what is wrong and what to do next, then the end.
die() {
    printf 'hubbub: %s\n' "$*" >&2
    exit 1
}

# Things that happen while the stack runs go to the screen and to the supervisor's log.
note() {
    printf '%s %s\n' "$(date +%H:%M:%S)" "$*" | tee -a "$LOGS/supervisor.log"
}
