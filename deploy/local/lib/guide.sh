# What a newcomer sees once the stack is ready: an address, two people, and lines to copy.

print_guide() {
    local url=http://localhost:$PORT ana ben
    ana=$(token_for ana) ben=$(token_for ben)
    say ''
    say "Hubbub is ready: $url   (API description: $url/docs)"
    case $API in
    1) ;;
    2) say "A second api node: http://localhost:$((PORT + 1))" ;;
    *) say "Further api nodes: http://localhost:$((PORT + 1)) to http://localhost:$((PORT + API - 1))" ;;
    esac
    if [ -n "$ana" ] && [ -n "$ben" ]; then print_conversation "$url" "$ana" "$ben"; fi
    say ''
    say 'Addresses and secrets of the stack: .local/env   Logs: .local/log/   Ctrl-C stops everything.'
}

print_conversation() {
    local url=$1 ana=$2 ben=$3 session
    session=$(session_id "$ana")
    say ''
    say "Ana's token: $ana"
    say "Ben's token: $ben"
    say ''
    say 'Listen and talk as Ben (npm install -g wscat):'
    say "  wscat -c \"ws://localhost:$PORT/live-chat/ws/${session:-1}?token=$ben\""
    say '  {"type": "message", "message": "Hello, Ana!"}'
    say 'Say something as Ana:'
    say "  curl -X POST $url/live-chat/send-message -H 'Authorization: Bearer $ana' -H 'Content-Type: application/json' -d '{\"message\": \"Hello, Ben!\"}'; echo"
    say 'Read what was said:'
    say "  curl '$url/live-chat/messages?limit=50' -H 'Authorization: Bearer $ana'; echo"
}

# Signing in by name exists in development only: elsewhere this prints nothing.
token_for() {
    curl -s -m 5 -X POST "http://127.0.0.1:$PORT/auth/dev-login" -H 'Content-Type: application/json' \
        -d "{\"username\": \"$1\"}" | sed -n 's/.*"access_token" *: *"\([^"]*\)".*/\1/p'
}

session_id() {
    curl -s -m 5 "http://127.0.0.1:$PORT/live-chat/status" -H "Authorization: Bearer $1" |
        grep -o '"session" *:.*' | grep -oE '"id" *: *[0-9]+' | head -n 1 | grep -oE '[0-9]+'
}
