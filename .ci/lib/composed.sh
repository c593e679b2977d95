# The composed stack, used as an operator would use it: production settings, tokens signed with SECRET_KEY.

STACK_SECRET=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
# Above the ports that the tests take and below those of outgoing connections.
PORT_1=32580 PORT_2=32581

# The settings reach docker-compose alone: the tests must not find them in their environment.
# The draw's window is open whatever the hour.
compose() {
    env SECRET_KEY="$STACK_SECRET" INTERNAL_SECRET="$STACK_SECRET" STORE_PASSWORD="$STACK_SECRET" \
        REDIS_IMAGE="$IMAGE_SERVERS" POSTGRES_IMAGE="$IMAGE_SERVERS" PORT="$PORT_1" PORT_2="$PORT_2" \
        DRAW_TIME_HOUR=12 LIVE_CHAT_PRE_DRAW_HOURS=12 LIVE_CHAT_POST_DRAW_HOURS=12 \
        docker-compose --project-name hubbub-ci --file deploy/compose.yaml "$@"
}

check_compose_file() {
    install_missing docker-compose docker-compose
    compose config --quiet
}

compose_up() {
    compose up -d --no-build
    wait_for 120 answers "http://127.0.0.1:$PORT_1/docs" || fail_with_logs 'the first api node does not answer'
    wait_for 120 answers "http://127.0.0.1:$PORT_2/docs" || fail_with_logs 'the second api node does not answer'
}

compose_down() {
    compose down --volumes --timeout 5 >/dev/null 2>&1 || true
}

# wait_for SECONDS COMMAND...
wait_for() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        if [ "$SECONDS" -ge "$deadline" ]; then return 1; fi
        sleep 0.5
    done
}

answers() {
    curl -s -f -m 5 -o /dev/null "$1"
}

fail_with_logs() {
    compose ps
    compose logs --tail 25
    die "containers: $1"
}

# Ana sends through the first node; the second node reads it, and it gets as far as PostgreSQL.
send_one_message() {
    local token
    token=$(token_for ana)
    wait_for 60 sent "$token" || fail_with_logs 'a message cannot be sent'
    wait_for 30 read_on_second_node "$token" || fail_with_logs 'the second node does not have the message'
    wait_for 30 stored || fail_with_logs 'the message is not in PostgreSQL'
    say 'sent on one node, read on the other, stored in PostgreSQL'
}

# One idempotency key for all tries: it is one message however often it is sent.
sent() {
    curl -s -f -m 5 -o /dev/null -X POST "http://127.0.0.1:$PORT_1/live-chat/send-message" \
        -H "Authorization: Bearer $1" -H 'Content-Type: application/json' -H 'Idempotency-Key: first' \
        -d '{"message": "through the containers"}'
}

read_on_second_node() {
    curl -s -f -m 5 "http://127.0.0.1:$PORT_2/live-chat/messages?limit=50" -H "Authorization: Bearer $1" |
        grep -q 'through the containers'
}

stored() {
    [ "$(compose exec -T -e PGPASSWORD="$STACK_SECRET" postgres psql -XAtq -h 127.0.0.1 -U hubbub hubbub \
        -c "select count(*) from hubbub.message where content = 'through the containers'" | tr -d '\r')" = 1 ]
}

# A token of the built-in issuer, as another service of the operator would make it.
token_for() {
    local head body now
    now=$(date +%s)
    head=$(printf '{"alg":"HS256","typ":"JWT"}' | base64url)
    body=$(printf '{"iss":"hubbub","aud":"hubbub","sub":"%s","username":"%s","iat":%s,"exp":%s}' \
        "$1" "$1" "$now" $((now + 600)) | base64url)
    printf '%s.%s.%s' "$head" "$body" \
        "$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -hmac "$STACK_SECRET" -binary | base64url)"
}

base64url() {
    openssl base64 -A | tr '+/' '-_' | tr -d '='
}
