//! Who may vouch for people: the issuers named in AUTH_ISSUERS, and ourselves. A mistake in here opens the door to
//! strangers, so whatever is doubtful stops the process at start, with the entry's name and never with a secret.

use std::collections::HashSet;

use jsonwebtoken::Algorithm;
use reqwest::Url;
use serde::Deserialize;
use shared::config::{AppEnv, ConfigError, Secret};

use super::claims::{ClaimPaths, NAME_CHARS_MAX};

/// The name, `iss` and `aud` of the tokens that we sign ourselves.
pub(crate) const OWN: &str = "hubbub";

/// An issuer as configured.
#[derive(Clone)]
pub(crate) struct Issuer {
    pub(super) name: String,
    pub(super) iss: String,
    /// One of these must be in a token's `aud`; empty means that `aud` does not matter.
    pub(super) audiences: Vec<String>,
    /// The only algorithm its tokens may have.
    pub(super) algorithm: Algorithm,
    pub(super) keys: KeySource,
    pub(super) paths: ClaimPaths,
}

/// Where an issuer's keys come from.
#[derive(Clone)]
pub(super) enum KeySource {
    /// Known to both sides; more than one while they are being changed.
    Shared(Vec<Secret>),
    /// Public ones, published at this address.
    Published(Url),
}

impl Issuer {
    /// Ourselves. Tokens are signed with `current`; those signed with `previous` go on until they expire.
    pub(crate) fn own(current: Secret, previous: Option<Secret>) -> Self {
        let one = |path: &str| vec![path.to_owned()];
        Self {
            name: OWN.to_owned(),
            iss: OWN.to_owned(),
            audiences: vec![OWN.to_owned()],
            algorithm: Algorithm::HS256,
            keys: KeySource::Shared(std::iter::once(current).chain(previous).collect()),
            paths: ClaimPaths {
                username: one("username"),
                full_name: one("full_name"),
                avatar: one("avatar"),
                roles: one("roles"),
            },
        }
    }
}

/// One entry of AUTH_ISSUERS.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    iss: String,
    #[serde(default)]
    aud: OneOrMany,
    alg: OneOrMany,
    secret: Option<String>,
    jwks_url: Option<String>,
    #[serde(default)]
    claims: EntryClaims,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryClaims {
    username: Option<OneOrMany>,
    full_name: Option<OneOrMany>,
    avatar: Option<OneOrMany>,
    roles: Option<OneOrMany>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Nothing(()),
    One(String),
    Many(Vec<String>),
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Nothing(())
    }
}

impl OneOrMany {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::Nothing(()) => Vec::new(),
            Self::One(item) => vec![item],
            Self::Many(items) => items,
        }
    }
}

/// The issuers in the text of AUTH_ISSUERS.
pub(super) fn parse(json: &str, app_env: AppEnv) -> Result<Vec<Issuer>, ConfigError> {
    // serde's own message may quote what it found, and that may be a secret: say only where.
    let entries: Vec<Entry> = serde_json::from_str(json).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        ConfigError(vec![format!(
            "AUTH_ISSUERS must be a JSON list of issuers with name, iss, alg, secret or jwks_url, and at will aud and \
             claims (see line {line}, column {column})"
        )])
    })?;
    let mut taken = HashSet::from([OWN.to_owned()]);
    let mut issuers = Vec::with_capacity(entries.len());
    let mut problems = Vec::new();
    for (place, entry) in entries.into_iter().enumerate() {
        let number = place + 1;
        match entry.check(app_env) {
            Ok(issuer) => {
                let fresh = [&issuer.name, &issuer.iss].map(|text| taken.contains(text)) == [false, false];
                taken.extend([issuer.name.clone(), issuer.iss.clone()]);
                if fresh {
                    issuers.push(issuer);
                } else {
                    problems.push(format!("AUTH_ISSUERS, entry {number}: name and iss must be its own"));
                }
            }
            Err(why) => problems.push(format!("AUTH_ISSUERS, entry {number}: {why}")),
        }
    }
    if problems.is_empty() { Ok(issuers) } else { Err(ConfigError(problems)) }
}

impl Entry {
    fn check(self, app_env: AppEnv) -> Result<Issuer, &'static str> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.name.is_empty() || self.name.len() > NAME_CHARS_MAX || !self.name.chars().all(plain) {
            return Err("name must be 1 to 64 letters, digits, dots, hyphens or underscores");
        }
        if self.iss.is_empty() {
            return Err("iss must not be empty");
        }
        let audiences = self.aud.into_list();
        if audiences.iter().any(String::is_empty) {
            return Err("aud must be null, a text or a list of texts");
        }
        let algorithm = algorithm(&self.alg.into_list())?;
        let keys = match (algorithm, self.secret, self.jwks_url) {
            (Algorithm::HS256, Some(secret), None) => KeySource::Shared(vec![strong(secret)?]),
            (Algorithm::HS256, _, _) => return Err("HS256 needs secret, and no jwks_url"),
            (_, None, Some(url)) => KeySource::Published(key_address(&url, app_env)?),
            _ => return Err("RS256 and ES256 need jwks_url, and no secret"),
        };
        Ok(Issuer {
            name: self.name,
            iss: self.iss,
            audiences,
            algorithm,
            keys,
            paths: self.claims.into_paths(),
        })
    }
}

impl EntryClaims {
    /// What is not configured is looked for where OpenID Connect puts it; roles are not: another product's `admin` is
    /// none of ours unless somebody says so.
    fn into_paths(self) -> ClaimPaths {
        let or = |given: Option<OneOrMany>, usual: &[&str]| match given {
            Some(paths) => paths.into_list(),
            None => usual.iter().map(|&path| path.to_owned()).collect(),
        };
        ClaimPaths {
            username: or(self.username, &["username", "preferred_username", "nickname"]),
            full_name: or(self.full_name, &["full_name", "name"]),
            avatar: or(self.avatar, &["avatar", "picture"]),
            roles: or(self.roles, &[]),
        }
    }
}

/// One algorithm per issuer: with two, the token's header would choose.
fn algorithm(names: &[String]) -> Result<Algorithm, &'static str> {
    match names {
        [name] if name == "HS256" => Ok(Algorithm::HS256),
        [name] if name == "RS256" => Ok(Algorithm::RS256),
        [name] if name == "ES256" => Ok(Algorithm::ES256),
        _ => Err("alg must be one of HS256, RS256, ES256"),
    }
}

fn strong(secret: String) -> Result<Secret, &'static str> {
    let secret = Secret::new(secret);
    match secret.weakness() {
        Some(_) => Err("secret must be a random value of at least 32 bytes that is known to nobody else"),
        None => Ok(secret),
    }
}

/// Keys that come over plain HTTP are the keys of whoever sits in between.
fn key_address(url: &str, app_env: AppEnv) -> Result<Url, &'static str> {
    let url = Url::parse(url).map_err(|_| "jwks_url must be an address")?;
    match (url.scheme(), app_env) {
        ("https", _) | ("http", AppEnv::Development) => Ok(url),
        _ => Err("jwks_url must begin with https:// (http:// is for APP_ENV=development)"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const STRONG: &str = "7f3c9be1a5d2480c96e1f0b8d4a37c52";

    fn problems(entries: &Value) -> String {
        match parse(&entries.to_string(), AppEnv::Production) {
            Ok(_) => String::new(),
            Err(ConfigError(problems)) => problems.join("; "),
        }
    }

    fn entry(changes: Value) -> Value {
        let mut entry =
            json!({"name": "shop", "iss": "https://shop.example", "alg": "HS256", "secret": STRONG});
        let Value::Object(changes) = changes else { panic!("changes are an object") };
        let members = entry.as_object_mut().expect("an object");
        for (name, value) in changes {
            members.insert(name, value);
        }
        entry
    }

    #[test]
    fn issuers_are_read_with_their_usual_claims() {
        let keys = "https://games.example/keys";
        let json = json!([
            entry(json!({"aud": ["chat", "web"], "claims": {"roles": "realm_access.roles", "username": ["a", "b"]}})),
            {"name": "games", "iss": "https://games.example", "alg": ["RS256"], "aud": null, "jwks_url": keys},
        ]);
        let issuers = parse(&json.to_string(), AppEnv::Production).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(issuers[0].audiences, ["chat", "web"]);
        assert_eq!(issuers[0].paths.roles, ["realm_access.roles"]);
        assert_eq!(issuers[0].paths.username, ["a", "b"]);
        assert_eq!(issuers[1].algorithm, Algorithm::RS256);
        assert!(issuers[1].audiences.is_empty());
        assert!(issuers[1].paths.roles.is_empty(), "roles of others are not believed unless configured");
    }

    #[test]
    fn s02_an_issuer_has_one_algorithm_and_keys_of_its_kind() {
        for changes in [
            json!({"alg": "none"}),
            json!({"alg": "HS384"}),
            json!({"alg": []}),
            json!({"alg": ["HS256", "RS256"]}),
            json!({"alg": "RS256"}),
            json!({"secret": null}),
            json!({"jwks_url": "https://shop.example/keys"}),
            json!({"alg": "RS256", "secret": null, "jwks_url": "http://shop.example/keys"}),
            json!({"alg": "ES256", "secret": null, "jwks_url": "file:///etc/passwd"}),
            json!({"name": ""}),
            json!({"name": "a b"}),
            json!({"iss": ""}),
            json!({"aud": ""}),
            json!({"aud": 7}),
            json!({"name": "hubbub"}),
            json!({"iss": "hubbub"}),
            json!({"jku": "https://evil.example"}),
        ] {
            assert_ne!(problems(&json!([entry(changes.clone())])), "", "{changes} was taken");
        }
        let twins = json!([entry(json!({})), entry(json!({"name": "other"}))]);
        assert!(problems(&twins).contains("entry 2"), "{}", problems(&twins));
    }

    #[test]
    fn s38_weak_secrets_are_refused_and_never_repeated() {
        for weak in [
            "password1",
            "changeme",
            "your-super-secret-jwt-token-with-at-least-32-characters-long",
            &STRONG[1..],
        ] {
            let said = problems(&json!([entry(json!({"secret": weak}))]));
            assert!(said.contains("at least 32 bytes") && !said.contains(weak), "{said}");
        }
        let misplaced = problems(&json!([entry(json!({"claims": STRONG}))]));
        assert!(misplaced.contains("AUTH_ISSUERS") && !misplaced.contains(STRONG), "{misplaced}");
    }
}
