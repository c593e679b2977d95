# Every setting of the local stack: how many, where, and with which secrets.

STATE=$ROOT/.local
RUN=$STATE/run
LOGS=$STATE/log
DATA=$STATE/data

read_counts() {
    API=${API:-1} FANOUT=${FANOUT:-1} PERSISTER=${PERSISTER:-1} PORT=${PORT:-8000}
    whole_number API "$API" 1 50
    whole_number FANOUT "$FANOUT" 0 50
    whole_number PERSISTER "$PERSISTER" 0 50
    whole_number PORT "$PORT" 1 60000
    # The services' internal listeners come first, then the three stores.
    INTERNAL_BASE=$((PORT + 1000))
    LOG_PORT=$((PORT + 1200)) BUS_PORT=$((PORT + 1201)) POSTGRES_PORT=$((PORT + 1202))
}

# whole_number NAME VALUE LEAST MOST
whole_number() {
    case $2 in
    '' | *[!0-9]* | ??????*) die "$1=$2 is not a whole number from $3 to $4: correct it" ;;
    esac
    if [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then die "$1=$2 is not between $3 and $4: correct it"; fi
}

# The names of all processes, in the order in which they start.
all_names() {
    printf '%s\n' redis-log redis-bus postgres
    service_names
}

service_names() {
    numbered api "$API"
    numbered fanout-worker "$FANOUT"
    numbered persister "$PERSISTER"
}

numbered() {
    local number=1
    while [ "$number" -le "$2" ]; do
        printf '%s-%s\n' "$1" "$number"
        number=$((number + 1))
    done
}

# The port on which clients reach an api node; nodes stand side by side from PORT upward.
public_port() {
    printf '%s\n' $((PORT + ${1##*-} - 1))
}

# The port of a service's /livez, /readyz and /metrics.
internal_port() {
    local before=0
    case $1 in
    fanout-worker-*) before=$API ;;
    persister-*) before=$((API + FANOUT)) ;;
    esac
    printf '%s\n' $((INTERNAL_BASE + before + ${1##*-} - 1))
}

# Random secrets are made once and kept beside the data that they protect.
load_secrets() {
    local file=$STATE/secrets name
    if [ ! -s "$file" ]; then
        for name in SECRET_KEY INTERNAL_SECRET STORE_PASSWORD; do
            printf 'KEPT_%s=%s\n' "$name" "$(random_hex)"
        done >"$file.new"
        mv "$file.new" "$file"
    fi
    . "$file"
    SECRET_KEY=${SECRET_KEY:-$KEPT_SECRET_KEY}
    INTERNAL_SECRET=${INTERNAL_SECRET:-$KEPT_INTERNAL_SECRET}
}

random_hex() {
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

# What every service finds in its environment. The addresses are always our own, never the caller's: a
# DATABASE_URL left over from another project must not be migrated. All else is a default that the caller's
# variables win over.
export_settings() {
    export DATABASE_URL="postgres://hubbub:$KEPT_STORE_PASSWORD@127.0.0.1:$POSTGRES_PORT/hubbub"
    export REDIS_URL="redis://default:$KEPT_STORE_PASSWORD@127.0.0.1:$LOG_PORT/"
    export BUS_REDIS_URL="redis://default:$KEPT_STORE_PASSWORD@127.0.0.1:$BUS_PORT/"
    export SECRET_KEY INTERNAL_SECRET
    export APP_ENV=${APP_ENV:-development} LOG_FORMAT=${LOG_FORMAT:-human} DRAIN_SECS=${DRAIN_SECS:-5}
    # A draw at noon with twelve hours either side: the chat is always open.
    export DRAW_TIME_HOUR=${DRAW_TIME_HOUR:-12}
    export LIVE_CHAT_PRE_DRAW_HOURS=${LIVE_CHAT_PRE_DRAW_HOURS:-12}
    export LIVE_CHAT_POST_DRAW_HOURS=${LIVE_CHAT_POST_DRAW_HOURS:-12}
    export ALLOWED_ORIGINS=${ALLOWED_ORIGINS:-http://localhost:3000,http://localhost:5173,http://localhost:8000,http://localhost:8081$(node_origins)}
}

# A page that one node serves may talk to the others.
node_origins() {
    local name
    for name in $(numbered api "$API"); do printf ',http://localhost:%s' "$(public_port "$name")"; done
}

# .local/env: the running stack's addresses and secrets, for tools to read.
write_env_file() {
    local name api='' metrics=''
    for name in $(numbered api "$API"); do
        api="$api,http://127.0.0.1:$(public_port "$name")"
    done
    for name in $(service_names); do
        metrics="$metrics,http://127.0.0.1:$(internal_port "$name")/metrics"
    done
    {
        printf 'API_URLS=%s\n' "${api#,}"
        printf 'METRICS_URLS=%s\n' "${metrics#,}"
        printf '%s=%s\n' DATABASE_URL "$DATABASE_URL" REDIS_URL "$REDIS_URL" BUS_REDIS_URL "$BUS_REDIS_URL"
        printf '%s=%s\n' SECRET_KEY "$SECRET_KEY" INTERNAL_SECRET "$INTERNAL_SECRET"
    } >"$STATE/env.new"
    mv "$STATE/env.new" "$STATE/env"
}
