# The private Redis pair and PostgreSQL: their settings, their data, and the user that they run as.

# PostgreSQL refuses to run as root, and Redis has no need to. Its package brings the user postgres, so this comes
# after the installation.
choose_store_user() {
    STORE_USER=''
    [ "$(id -u)" = 0 ] || return 0
    [ "$system" = Linux ] || die "run this as an ordinary user, not as root"
    if id postgres >/dev/null 2>&1; then STORE_USER=postgres; else STORE_USER=nobody; fi
    STORE_GROUP=$(id -gn "$STORE_USER")
}

# Becomes the given program, as the store user when there is one.
exec_as_store_user() {
    if [ -n "$STORE_USER" ]; then
        exec setpriv --reuid="$STORE_USER" --regid="$STORE_GROUP" --clear-groups "$@"
    fi
    exec "$@"
}

prepare_data_folders() {
    mkdir -p "$RUN" "$LOGS"
    if [ -n "$STORE_USER" ]; then choose_reachable_data; fi
    mkdir -p "$DATA/redis-log" "$DATA/redis-bus"
    write_redis_settings redis-log "$LOG_PORT" \
        'appendonly yes' 'appendfsync always' 'no-appendfsync-on-rewrite no' 'maxmemory-policy noeviction' 'maxmemory 2gb'
    write_redis_settings redis-bus "$BUS_PORT" 'appendonly no'
    give_data_to_store_user
    if [ ! -f "$DATA/postgres/PG_VERSION" ]; then make_database_cluster; fi
}

# The store user may be unable to enter the folder that the repository is in (root's home, mostly). The data
# then lives in /var/lib, and .local/data points there.
choose_reachable_data() {
    local elsewhere
    chmod 755 "$STATE"
    if [ ! -e "$DATA" ] && ! (exec_as_store_user test -x "$STATE"); then
        elsewhere=/var/lib/hubbub-local-$(printf '%s' "$ROOT" | cksum | cut -d ' ' -f 1)
        mkdir -p "$elsewhere"
        ln -s "$elsewhere" "$DATA"
        say "User $STORE_USER cannot enter $ROOT: the data is kept in $elsewhere."
    fi
    mkdir -p "$DATA"
}

give_data_to_store_user() {
    chmod 700 "$DATA"/redis-*
    if [ -n "$STORE_USER" ]; then
        chmod 755 "$DATA/."
        # All of it: an earlier run may have had another user.
        chown -R "$STORE_USER:$STORE_GROUP" "$DATA/."
    fi
}

# write_redis_settings NAME PORT SETTING...
# A file, not arguments: arguments show the password to everybody on the machine.
write_redis_settings() {
    local name=$1 port=$2
    shift 2
    {
        printf '%s\n' 'bind 127.0.0.1' "port $port" "dir $(cd "$DATA/$name" && pwd -P)" 'save ""'
        printf 'requirepass %s\n' "$KEPT_STORE_PASSWORD"
        printf '%s\n' "$@"
    } >"$DATA/$name/redis.conf"
}

# Made aside and renamed, so that a run that was cut short leaves nothing half done.
make_database_cluster() {
    local password=$DATA/password new=$DATA/postgres.new
    say "Making a private PostgreSQL database in .local/data/postgres ..."
    rm -rf "$new"
    printf '%s\n' "$KEPT_STORE_PASSWORD" >"$password"
    if [ -n "$STORE_USER" ]; then chown "$STORE_USER" "$password"; fi
    (
        cd "$DATA" || exit 1
        exec_as_store_user "$(find_program initdb)" --username=hubbub --pwfile=password --auth=scram-sha-256 \
            --encoding=UTF8 --locale=C -D postgres.new
    ) >"$LOGS/initdb.log" 2>&1 || die "initdb failed: see .local/log/initdb.log, which ends: $(tail -n 1 "$LOGS/initdb.log")"
    rm -f "$password"
    mv "$new" "$DATA/postgres"
}

run_redis() {
    cd "$DATA/$1" && exec_as_store_user "$(find_program redis-server)" redis.conf
}

run_postgres() {
    cd "$DATA/postgres" && exec_as_store_user "$(find_program postgres)" -D . -p "$POSTGRES_PORT" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=$((50 + 12 * (API + FANOUT + PERSISTER)))
}

redis_answers() {
    [ "$(REDISCLI_AUTH=$KEPT_STORE_PASSWORD "$(find_program redis-cli)" -p "$1" ping 2>/dev/null)" = PONG ]
}

postgres_answers() {
    PGPASSWORD=$KEPT_STORE_PASSWORD PGCONNECT_TIMEOUT=2 "$(find_program psql)" -XAtq -h 127.0.0.1 -p "$POSTGRES_PORT" -U hubbub "$@" >/dev/null 2>&1
}

ensure_database() {
    postgres_answers -d hubbub -c 'select 1' || postgres_answers -d postgres -c 'create database hubbub' ||
        die "the database hubbub cannot be made: see .local/log/postgres.log"
}
