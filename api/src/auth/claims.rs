//! What a token says, once its signature holds: every claim we rely on has its type checked here, none is coerced.
//!
//! **Who is who.** A `sub` that is a UUID is the account's id, whichever issuer says so; any other `sub` is hashed with
//! the issuer's name (UUID version 5), so that two issuers' "42" are two people. Two issuers that hand out the same UUID
//! therefore name the same account on purpose or by attack, and we can't tell which: the account belongs to the issuer
//! that was seen with it first, and the other is refused (see `shared::store::accounts::see`).

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use shared::id::AccountId;
use shared::user::Roles;
use unicode_normalization::UnicodeNormalization as _;
use uuid::Uuid;

use super::token::Flaw;

/// How far an issuer's clock may be off. More would let a revoked or expired token live on.
pub(super) const LEEWAY_SECS: i64 = 30;

/// 9999-12-31T23:59:59Z: whatever is later is an overflow or a prank.
const LATEST_SECS: i64 = 253_402_300_799;

/// OpenID Connect allows a `sub` of this many ASCII characters.
const SUBJECT_BYTES_MAX: usize = 255;

/// Longest name shown, in characters; longer ones are cut.
pub(crate) const NAME_CHARS_MAX: usize = 64;

/// Longest address of a picture, in bytes; longer ones are dropped, for half an address is none.
const AVATAR_BYTES_MAX: usize = 2048;

/// Root of the names that accounts get from (issuer, subject). Drawn once; changing it would make everybody a stranger.
const NAMESPACE: Uuid = Uuid::from_u128(0x5b1c_6c3e_7f0a_4c59_9d5e_2a8b_64f1_03d7);

/// A person as a verified token describes them.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The configured name of who vouches for it.
    pub(crate) issuer: Arc<str>,
    /// Our name for the person.
    pub(crate) account: AccountId,
    /// The name to show when the token gives none.
    pub(crate) fallback_name: String,
    /// What else the token says about them.
    pub(crate) claims: Claims,
    /// The version of the account's sign-ins that the token belongs to; only our own tokens say.
    pub(crate) token_version: Option<i32>,
    /// When the token ends, without leeway.
    pub(crate) expires_at: DateTime<Utc>,
}

/// The part of a token that is shown to others, cleaned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) username: Option<String>,
    pub(crate) full_name: Option<String>,
    pub(crate) avatar: Option<String>,
    pub(crate) roles: Roles,
}

/// Where an issuer keeps its claims. Each is a list of places, of which the first that holds anything counts; a place is
/// a claim's name or a dotted path to it.
#[derive(Clone, Debug)]
pub(super) struct ClaimPaths {
    pub(super) username: Vec<String>,
    pub(super) full_name: Vec<String>,
    pub(super) avatar: Vec<String>,
    pub(super) roles: Vec<String>,
}

/// The account that `subject` is when `issuer` says so.
pub(crate) fn account_of(issuer: &str, subject: &str) -> AccountId {
    match uuid_of(subject) {
        Some(id) => AccountId(id),
        None => AccountId(Uuid::new_v5(&Uuid::new_v5(&NAMESPACE, issuer.as_bytes()), subject.as_bytes())),
    }
}

/// The UUID that `text` is. Only the usual form with hyphens counts, so that one id has one spelling (but for case).
pub(super) fn uuid_of(text: &str) -> Option<Uuid> {
    if text.len() == 36 { Uuid::try_parse(text).ok() } else { None }
}

/// Reads the claims of a token whose signature and issuer were found good. `own` says that we signed it ourselves.
pub(super) fn read(
    claims: &Map<String, Value>,
    issuer: &Arc<str>,
    own: bool,
    paths: &ClaimPaths,
    now: DateTime<Utc>,
) -> Result<Identity, Flaw> {
    let expires = seconds(claims, "exp")?.ok_or(Flaw::Claim("exp"))?;
    let starts = seconds(claims, "nbf")?;
    seconds(claims, "iat")?;
    if expires + LEEWAY_SECS < now.timestamp() {
        return Err(Flaw::Expired);
    }
    if starts.is_some_and(|starts| starts > now.timestamp() + LEEWAY_SECS) {
        return Err(Flaw::NotYet);
    }
    let subject = subject(claims)?;
    let account = account_of(issuer, subject);
    Ok(Identity {
        account,
        fallback_name: format!("user-{}", &account.0.simple().to_string()[..8]),
        issuer: Arc::clone(issuer),
        claims: Claims {
            username: find(claims, &paths.username).and_then(Value::as_str).and_then(clean_name),
            full_name: find(claims, &paths.full_name).and_then(Value::as_str).and_then(clean_name),
            avatar: find(claims, &paths.avatar).and_then(Value::as_str).and_then(avatar),
            roles: find(claims, &paths.roles).map(roles).unwrap_or_default(),
        },
        token_version: if own { version(claims)? } else { None },
        expires_at: DateTime::from_timestamp(expires, 0).ok_or(Flaw::Claim("exp"))?,
    })
}

/// A point in time as seconds since 1970. Libraries differ in what they make of a text, a fraction or a negative
/// number; we make nothing of them.
fn seconds(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, Flaw> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole = match value.as_i64() {
        Some(whole) => Some(whole),
        None => value.as_f64().filter(|float| float.fract() == 0.0).and_then(exact),
    };
    whole.filter(|whole| (0..=LATEST_SECS).contains(whole)).map(Some).ok_or(Flaw::Claim(name))
}

/// A whole float as the integer it is. Some issuers write `1.7e9`, which is no fraction.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the range was checked, and whole floats below 2^53 are exact"
)]
fn exact(float: f64) -> Option<i64> {
    (0.0..9e15).contains(&float).then_some(float as i64)
}

fn subject(claims: &Map<String, Value>) -> Result<&str, Flaw> {
    let subject = claims.get("sub").and_then(Value::as_str).ok_or(Flaw::Claim("sub"))?;
    let blank = subject.trim().is_empty() || subject.chars().any(char::is_control);
    // The nil and the max UUID are what broken programs send for "nobody" and "anybody".
    let nobody = uuid_of(subject).is_some_and(|id| id.is_nil() || id.is_max());
    if blank || nobody || subject.len() > SUBJECT_BYTES_MAX {
        return Err(Flaw::Claim("sub"));
    }
    Ok(subject)
}

fn version(claims: &Map<String, Value>) -> Result<Option<i32>, Flaw> {
    let Some(value) = claims.get("ver") else { return Ok(None) };
    value.as_i64().and_then(|ver| i32::try_from(ver).ok()).map(Some).ok_or(Flaw::Claim("ver"))
}

/// The first place that holds anything. Auth0 and others put dots into claim names (`https://shop.example/roles`), so
/// the whole path is tried as a name first.
fn find<'c>(claims: &'c Map<String, Value>, places: &[String]) -> Option<&'c Value> {
    places.iter().find_map(|place| at(claims, place)).filter(|value| !value.is_null())
}

fn at<'c>(object: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    at(object.get(first)?.as_object()?, rest)
}

/// A list of names, or one text with names between blanks or commas; what is no role of ours is left out.
fn roles(value: &Value) -> Roles {
    match value {
        Value::Array(names) => Roles::from_names(names.iter().filter_map(Value::as_str)),
        Value::String(names) => Roles::from_names(names.split([' ', ','])),
        _ => Roles::NONE,
    }
}

/// A name as it may be shown: composed, without anything invisible that could reorder or imitate, trimmed and cut.
/// `None` when nothing is left.
pub(crate) fn clean_name(raw: &str) -> Option<String> {
    // 1 character never composes from more than a few, so what is cut off here can't reach the first 64.
    let visible = raw.chars().take(NAME_CHARS_MAX * 16).filter(|c| !c.is_control() && !is_invisible(*c));
    let composed: String = visible.nfc().collect();
    let cut: String = composed.trim().chars().take(NAME_CHARS_MAX).collect();
    let name = cut.trim_end();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Marks that steer the direction of text or take no room. The joiners U+200C and U+200D stay: Persian, several Indian
/// scripts and emoji need them.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{061c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// An http(s) address, kept as it is and never fetched by us.
fn avatar(raw: &str) -> Option<String> {
    let fits = raw.len() <= AVATAR_BYTES_MAX && !raw.chars().any(|c| c.is_control() || c.is_whitespace());
    let url = reqwest::Url::parse(raw).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    (fits && url.has_host() && url.username().is_empty() && url.password().is_none()).then(|| raw.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::user::Role;

    use super::*;

    fn paths() -> ClaimPaths {
        let one = |path: &str| vec![path.to_owned()];
        ClaimPaths {
            username: vec!["nick".into(), "profile.name".into()],
            full_name: one("name"),
            avatar: one("picture"),
            roles: one("realm.access.roles"),
        }
    }

    fn identity(claims: Value) -> Result<Identity, Flaw> {
        let Value::Object(mut claims) = claims else { panic!("claims are an object") };
        claims.entry("sub").or_insert(json!("42"));
        claims.entry("exp").or_insert(json!(2_000_000_000));
        let now = DateTime::from_timestamp(1_900_000_000, 0).expect("a valid time");
        read(&claims, &Arc::from("shop"), true, &paths(), now)
    }

    #[test]
    fn s02_times_are_whole_seconds_or_the_token_is_refused() {
        let wrong = [
            json!("2000000000"),
            json!(2_000_000_000.5),
            json!(-1),
            json!([2_000_000_000]),
            json!({}),
            json!(null),
            json!(true),
            json!(253_402_300_800_i64),
            json!(u64::MAX),
            json!(1e300),
            json!(-0.5),
        ];
        for name in ["exp", "nbf", "iat"] {
            for value in &wrong {
                assert_eq!(identity(json!({name: value})).err(), Some(Flaw::Claim(name)), "{name}: {value}");
            }
        }
        assert!(identity(json!({"exp": 2e9})).is_ok(), "a whole number may be written with an exponent");
    }

    #[test]
    fn s02_the_clocks_may_be_thirty_seconds_apart_and_no_more() {
        assert!(identity(json!({"exp": 1_900_000_000 - 30})).is_ok());
        assert_eq!(identity(json!({"exp": 1_900_000_000 - 31})).err(), Some(Flaw::Expired));
        assert!(identity(json!({"nbf": 1_900_000_000 + 30})).is_ok());
        assert_eq!(identity(json!({"nbf": 1_900_000_000 + 31})).err(), Some(Flaw::NotYet));
    }

    #[test]
    fn s02_a_subject_is_a_text_that_names_somebody() {
        for sub in [
            json!(""),
            json!("  "),
            json!(42),
            json!(null),
            json!("a\nb"),
            json!("x".repeat(256)),
            json!(Uuid::nil().to_string()),
            json!(Uuid::max().to_string()),
        ] {
            assert_eq!(identity(json!({"sub": sub})).err(), Some(Flaw::Claim("sub")), "{sub}");
        }
    }

    #[test]
    fn a_uuid_is_the_account_and_any_other_subject_belongs_to_its_issuer() {
        let id = "6F9619FF-8B86-4011-B42D-00CF4FC964FF";
        assert_eq!(account_of("shop", id), account_of("games", &id.to_lowercase()));
        assert_eq!(account_of("shop", id).to_string(), id.to_lowercase());
        assert_eq!(account_of("shop", "42"), account_of("shop", "42"));
        assert_ne!(account_of("shop", "42"), account_of("games", "42"));
        for other_spelling in [id.replace('-', ""), format!("{{{id}}}"), format!("urn:uuid:{id}")] {
            assert_ne!(account_of("shop", &other_spelling), account_of("shop", id));
        }
    }

    #[test]
    fn claims_are_found_where_the_issuer_keeps_them() {
        let found = identity(json!({
            "nick": null, "profile": {"name": "ana"}, "name": "Ana Anic", "picture": "https://img.example/a.png",
            "realm": {"access": {"roles": ["HOST", "emperor", 7]}}, "ver": 3,
        }))
        .expect("good claims");
        assert_eq!(found.claims.full_name.as_deref(), Some("Ana Anic"));
        assert_eq!(found.claims.avatar.as_deref(), Some("https://img.example/a.png"));
        assert_eq!(found.claims.roles, Roles::from_iter([Role::Host]));
        assert_eq!(found.token_version, Some(3));
        let whole_name = identity(json!({"realm.access.roles": "winner, host"})).expect("good claims");
        assert_eq!(whole_name.claims.roles, Roles::from_iter([Role::Winner, Role::Host]));
        for ver in [json!("3"), json!(1.5), json!(1_u64 << 40)] {
            assert_eq!(identity(json!({"ver": ver})).err(), Some(Flaw::Claim("ver")));
        }
    }

    #[test]
    fn names_are_cleaned_rather_than_refused() {
        for (raw, clean) in [
            ("  ana  ", Some("ana")),
            ("e\u{301}va", Some("\u{e9}va")),
            ("a\u{202e}b\u{2066}c\0\n", Some("abc")),
            ("\u{200b}\u{feff} ", None),
            ("", None),
        ] {
            assert_eq!(clean_name(raw).as_deref(), clean, "{raw:?}");
        }
        let cut = clean_name(&format!("{} tail", "x".repeat(63))).expect("a name");
        assert_eq!(cut, "x".repeat(63), "no blank is left where the name was cut");
        assert_eq!(clean_name(&"é".repeat(500)).expect("a name").chars().count(), 64);
    }

    #[test]
    fn only_web_addresses_are_pictures() {
        for bad in [
            "javascript:alert(1)",
            "data:image/png;base64,AA",
            "//img.example/a.png",
            "ftp://img.example/a",
            "https://ana:pw@img.example/a",
            "https://",
            " https://img.example/a",
            "https://img.example/a b",
        ] {
            assert_eq!(avatar(bad), None, "{bad}");
        }
        let long = format!("https://img.example/{}", "a".repeat(AVATAR_BYTES_MAX));
        assert_eq!(avatar(&long), None);
        assert!(avatar("http://img.example:8080/a?b=c#d").is_some());
    }
}
