use super::*;

const KEY: &str = "7f3c9be1a5d2480c96e1f0b8d4a37c52";

fn vars(more: &[(&str, &str)]) -> Vars {
    let base =
        [("DATABASE_URL", "postgres://db/hubbub"), ("REDIS_URL", "redis://log:6379"), ("SECRET_KEY", KEY)];
    base.iter().chain(more).copied().collect()
}

fn parse(more: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::parse(&vars(more))
}

fn problems(more: &[(&str, &str)]) -> Vec<String> {
    parse(more).err().map(|error| error.0).unwrap_or_default()
}

#[test]
fn three_variables_suffice() {
    let config = parse(&[]).expect("all else has a default");
    assert_eq!(config.listen, ["0.0.0.0:8000".parse().expect("an address")]);
    assert_eq!(config.outbox_bytes_max, 1_048_576);
    assert_eq!(config.outbox_age, Duration::from_secs(10));
    assert!(!config.dev_login && config.allowed_origins.is_empty() && config.public_url.is_none());
    let live = config.live_chat;
    assert!(live.enabled);
    assert_eq!((live.pre_draw, live.post_draw), (Duration::from_secs(3_600), Duration::from_secs(3_600)));
    assert_eq!((live.max_messages_per_user_per_minute, live.message_history_limit), (10, 100));
    assert_eq!((live.draw_hour, live.draw_minute, live.draw_timezone), (20, 0, Tz::UTC));
}

#[test]
fn lists_and_times_are_read() {
    let config = parse(&[
        ("LISTEN", "8000, :8081, 127.0.0.1:0, [::1]:9"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7, 2001:db8::/32"),
        ("ALLOWED_ORIGINS", "https://Chat.Example.org:443/, http://localhost:3000"),
        ("PUBLIC_URL", "wss://hub.example.org"),
        ("LIVE_CHAT_PRE_DRAW_HOURS", "0.5"),
        ("DRAW_TIMEZONE", "Europe/Berlin"),
        ("DRAW_TIMES", "2024-03-01T20:00:00Z,2024-03-02T20:00:00+01:00"),
    ])
    .expect("all of this is well formed");
    let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["0.0.0.0:8000", "0.0.0.0:8081", "127.0.0.1:0", "[::1]:9"]);
    assert_eq!(config.trusted_proxies[1].to_string(), "192.0.2.7/32");
    assert_eq!(config.allowed_origins, ["https://chat.example.org", "http://localhost:3000"]);
    assert_eq!(config.public_url.as_deref(), Some("https://hub.example.org"));
    assert_eq!(config.live_chat.pre_draw, Duration::from_secs(1_800));
    assert_eq!(config.live_chat.draw_timezone, Tz::Europe__Berlin);
    let times: Vec<String> = config.live_chat.draw_times.iter().map(DateTime::to_rfc3339).collect();
    assert_eq!(times, ["2024-03-01T20:00:00+00:00", "2024-03-02T19:00:00+00:00"]);
}

#[test]
fn origins_may_be_json_too() {
    let config = parse(&[("ALLOWED_ORIGINS", r#"["http://localhost:3000","https://a.example"]"#)]);
    assert_eq!(config.expect("a list").allowed_origins, ["http://localhost:3000", "https://a.example"]);
}

#[test]
fn bad_values_name_the_variable() {
    let cases = [
        ("LISTEN", "http://x", "LISTEN must be a comma-separated list of ports"),
        (
            "ALLOWED_ORIGINS",
            "https://*.example.org",
            "ALLOWED_ORIGINS must be a comma-separated list of origins",
        ),
        ("ALLOWED_ORIGINS", "https://a.example/path", "ALLOWED_ORIGINS must be"),
        ("ALLOWED_ORIGINS", "https://u:p@a.example", "ALLOWED_ORIGINS must be"),
        ("ALLOWED_ORIGINS", "https://a.example:99999", "ALLOWED_ORIGINS must be"),
        ("ALLOWED_ORIGINS", "null", "ALLOWED_ORIGINS must be"),
        ("PUBLIC_URL", "ftp://a.example", "PUBLIC_URL must be an origin"),
        ("TRUSTED_PROXIES", "10.0.0.0/33", "TRUSTED_PROXIES must be a comma-separated list of IP networks"),
        ("AUTH_ISSUERS", "/nowhere/issuers.json", "AUTH_ISSUERS names a file that cannot be read"),
        ("LIVE_CHAT_ENABLED", "maybe", "LIVE_CHAT_ENABLED must be true or false"),
        ("LIVE_CHAT_MESSAGE_HISTORY_LIMIT", "0", "LIVE_CHAT_MESSAGE_HISTORY_LIMIT must be a whole number"),
        ("DRAW_TIME_HOUR", "24", "DRAW_TIME_HOUR must be a whole number from 0 to 23"),
        ("DRAW_TIME_MINUTE", "60", "DRAW_TIME_MINUTE must be a whole number from 0 to 59"),
        ("DRAW_TIMEZONE", "Mars/Olympus", "DRAW_TIMEZONE must be an IANA time zone"),
        ("DRAW_TIMES", "2024-01-01 20:00", "DRAW_TIMES must be a comma-separated list of RFC 3339 times"),
        ("OUTBOX_BYTES_MAX", "1MB", "OUTBOX_BYTES_MAX must be a whole number"),
        ("LIMIT_JSON_DEPTH", "100", "LIMIT_JSON_DEPTH must be a whole number from 2 to 54"),
    ];
    for (name, value, expected) in cases {
        let problems = problems(&[(name, value)]);
        assert_eq!(problems.len(), 1, "{name}={value}: {problems:?}");
        assert!(problems[0].starts_with(expected), "{problems:?}");
    }
    let never_open = [("LIVE_CHAT_PRE_DRAW_HOURS", "0"), ("LIVE_CHAT_POST_DRAW_HOURS", "0")];
    assert_eq!(problems(&never_open).len(), 1);
}

#[test]
fn misspelt_settings_are_told() {
    let config = parse(&[("LIVE_CHAT_ENABELD", "1"), ("LIMIT_SOCKETS", "1"), ("DRAW_HOUR", "1")]);
    let config = config.expect("they are warned about, not refused");
    assert_eq!(config.unknown_live_chat, ["LIVE_CHAT_ENABELD"]);
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
}

#[test]
fn issuers_may_stand_in_a_file() {
    let path = std::env::temp_dir().join(format!("hubbub-issuers-{}", std::process::id()));
    std::fs::write(&path, "[{\"name\": \"ours\"}]\n").expect("a writable temporary directory");
    let file = path.to_str().expect("a UTF-8 path");
    for (name, value) in
        [("AUTH_ISSUERS", file), ("AUTH_ISSUERS_FILE", file), ("AUTH_ISSUERS", "[{\"name\": \"ours\"}]")]
    {
        let issuers = parse(&[(name, value)]).expect("issuers are readable").auth_issuers;
        assert_eq!(issuers.as_ref().map(Secret::expose), Some("[{\"name\": \"ours\"}]"));
    }
    std::fs::remove_file(&path).expect("it was just written");
}

/// Everything that must not happen in front of strangers, in all three environments: 12 x 3 combinations.
#[test]
fn s39_the_start_matrix() {
    let hazards: [&[(&str, &str)]; 12] = [
        &[("DEV_LOGIN", "true")],
        &[("ALLOWED_ORIGINS", "*")],
        &[("ALLOWED_ORIGINS", "https://a.example, *")],
        &[("UNSAFE_REDIS", "warn")],
        &[("PUBLIC_URL", "http://chat.example.org")],
        &[("PUBLIC_URL", "ws://chat.example.org")],
        &[("SECRET_KEY", "")],
        &[("SECRET_KEY", "short")],
        &[("SECRET_KEY", "your-secret-key-here-your-secret-key-here")],
        &[("SECRET_KEY_PREVIOUS", "short")],
        &[("INTERNAL_LISTEN", "0.0.0.0:9000")],
        &[("INTERNAL_SECRET", "short")],
    ];
    for hazard in hazards {
        for app_env in ["", "production"] {
            let given: Vec<_> = hazard.iter().copied().chain([("APP_ENV", app_env)]).collect();
            let refused = problems(&given);
            assert_eq!(refused.len(), 1, "{given:?}: {refused:?}");
            assert!(refused[0].starts_with(hazard[0].0), "{refused:?}");
            assert!(!refused[0].contains("short") && !refused[0].contains("your-secret"), "{refused:?}");
        }
        let given: Vec<_> = hazard.iter().copied().chain([("APP_ENV", "development")]).collect();
        assert!(problems(&given).is_empty(), "{given:?}");
    }
    for app_env in ["", "production", "development"] {
        assert!(problems(&[("APP_ENV", app_env)]).is_empty());
    }
}

#[test]
fn s38_a_development_key_is_never_taken_in_production() {
    let given = [("SECRET_KEY", DEVELOPMENT_KEY)];
    assert_eq!(problems(&given).len(), 1);
    let development = parse(&[("APP_ENV", "development"), ("SECRET_KEY", "")]).expect("a key of its own");
    assert_eq!(development.secret_key.expose(), DEVELOPMENT_KEY);
    assert!(development.dev_login);
    assert!(development.warnings.iter().any(|warning| warning.starts_with("SECRET_KEY")));
}

/// `.env.example` and the parsers know the same names, and the values shown there are accepted.
#[test]
fn the_example_names_every_variable_and_no_other() {
    let example = include_str!("../../../.env.example");
    let shown: Vec<(&str, &str)> = example
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once('='))
        .filter(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
        .collect();
    let shown_names: std::collections::BTreeSet<String> =
        shown.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(shown_names.len(), shown.len(), "a name stands there twice");

    let none = Vars::default();
    let mut read = Reader::new(&none);
    Config::read(&mut read);
    let missing: Vec<_> = read.asked().difference(&shown_names).collect();
    let unknown: Vec<_> = shown_names.difference(read.asked()).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}, unknown {unknown:?}");

    let values: Vars = shown.into_iter().collect();
    Config::parse(&values.with("SECRET_KEY", KEY)).expect("the values shown are good ones");
}
