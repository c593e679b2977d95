//! Tokens: none holds that we did not sign byte for byte, whatever it says of itself; one that holds is read as it stands;
//! and a plainly good one does hold. Signatures are made here by other means than in the service.

use std::sync::LazyLock;

use api::decoders::{self, Bearer, Tokens};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use shared::user::Roles;
use uuid::Uuid;

use crate::input::Input;

const OURS: &str = "7f3c9be1a5d2480c96e1f0b8d4a37c52";
const OLD: &str = "0d8e51b7c2f94a63b1c7e5d20f8a6934";
const STRANGERS: &str = "n2Vd8qX0sK4pLw6ZbT1yRj9cGfHm3AeU";
const GOOD_HEADER: &str = r#"{"typ":"JWT","alg":"HS256"}"#;

/// In the year 2096, so that the clock of the machine decides nothing.
const NOW: i64 = 4_000_000_000;
const LATEST: i64 = 253_402_300_799;

static CHECKER: LazyLock<Tokens> = LazyLock::new(|| Tokens::new(OURS, OLD));

/// A token; or a header and claims to be signed by us or by a stranger; or edits of a good token; or a set of keys.
///
/// # Panics
/// When the promise is broken.
pub fn check(data: &[u8]) -> bool {
    let mut input = Input(data);
    match input.byte() % 6 {
        0 => arbitrary(input.0),
        1 => signed_by_us(input.0, OURS),
        2 => signed_by_us(input.0, OLD),
        3 => signed_by_a_stranger(input.0),
        4 => edited(&mut input),
        _ => key_set(input.0),
    }
}

/// A token that is no text is never asked about: headers are not read that way.
fn arbitrary(bytes: &[u8]) -> bool {
    let Ok(token) = std::str::from_utf8(bytes) else { return false };
    let holds = CHECKER.verify(token, NOW).is_some();
    let signed = token.rsplit_once('.').is_some_and(|(message, signature)| {
        [OURS, OLD].iter().any(|secret| signature == signature_of(message, secret))
    });
    assert!(signed || !holds, "a token holds that we never signed");
    holds
}

fn signed_by_us(bytes: &[u8], secret: &str) -> bool {
    let (header, claims) = parts(bytes);
    let bearer = CHECKER.verify(&signed(header, claims, secret), NOW);
    let strict = decoders::strict_json(claims);
    is_read_in_one_way(claims, strict.as_ref());
    if let Some(bearer) = &bearer {
        is_access_token(header);
        is_as_claimed(bearer, &strict.expect("claims that hold can be read in one way only"));
    } else if header == GOOD_HEADER.as_bytes() {
        assert!(!strict.is_some_and(|claims| is_plainly_good(&claims)), "a good token does not hold");
    }
    bearer.is_some()
}

fn signed_by_a_stranger(bytes: &[u8]) -> bool {
    let (header, claims) = parts(bytes);
    assert_eq!(CHECKER.verify(&signed(header, claims, STRANGERS), NOW), None, "a stranger signed it");
    // Whoever leaves the signature out, or takes another token's.
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let (_, other) =
        good().rsplit_once('.').map(|(m, s)| (m.to_owned(), s.to_owned())).expect("it has a signature");
    for unsigned in [format!("{message}."), message.clone(), format!("{message}.{other}")] {
        assert!(CHECKER.verify(&unsigned, NOW).is_none() || unsigned == good(), "nobody signed it");
    }
    !claims.is_empty()
}

/// Every byte of a token counts, the unused bits of its last character included.
fn edited(input: &mut Input<'_>) -> bool {
    let mut token = good().into_bytes();
    while !input.is_used_up() {
        let (kind, place, byte) =
            (input.byte(), usize::from(input.byte()) * 2 + usize::from(input.byte() % 2), input.byte());
        let place = place % token.len().max(1);
        match kind % 4 {
            0 if !token.is_empty() => token[place] ^= byte,
            1 if !token.is_empty() => drop(token.remove(place)),
            2 => token.truncate(place),
            _ => token.insert(place, byte),
        }
    }
    let Ok(token) = String::from_utf8(token) else { return false };
    let bearer = CHECKER.verify(&token, NOW);
    assert_eq!(bearer.is_some(), token == good(), "an edited token holds, or a whole one does not: {token}");
    true
}

/// No more keys are taken than an answer holds, and no RSA key below 2,048 bits.
fn key_set(bytes: &[u8]) -> bool {
    let Some([rsa, ec]) = decoders::key_set(bytes) else { return false };
    let answer: Value = serde_json::from_slice(bytes).expect("what was read is JSON");
    let keys =
        answer.get("keys").or(answer.get(0)).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |key: &Value, name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let long = keys.iter().filter(|key| text(key, "kty") == "RSA" && text(key, "n").len() >= 342).count();
    let curve = keys.iter().filter(|key| text(key, "kty") == "EC" && text(key, "crv") == "P-256").count();
    assert!(rsa <= long && ec <= curve, "{rsa} of {long} RSA keys, {ec} of {curve} EC keys");
    rsa + ec > 0
}

/// Header and claims, on a line each.
fn parts(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    (&bytes[..end], bytes.get(end + 1..).unwrap_or_default())
}

/// An object is read if no name in it is repeated: then there are as many members as colons.
fn is_read_in_one_way(bytes: &[u8], strict: Option<&Map<String, Value>>) {
    let plain: Option<Value> = serde_json::from_slice(bytes).ok();
    let expected = plain.filter(|plain| plain.is_object() && members(plain) == colons(bytes));
    assert_eq!(strict, expected.as_ref().and_then(Value::as_object));
}

/// Those outside of strings.
fn colons(json: &[u8]) -> usize {
    let (mut is_text, mut is_escaped, mut colons) = (false, false, 0);
    for byte in json {
        is_text ^= *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        colons += usize::from(*byte == b':' && !is_text);
    }
    colons
}

fn members(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        Value::Array(items) => items.iter().map(members).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn is_access_token(header: &[u8]) {
    let header = decoders::strict_json(header).expect("a header that holds can be read in one way only");
    assert_eq!(header.get("alg"), Some(&json!("HS256")), "another algorithm");
    for name in ["crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c", "epk"] {
        assert!(!header.contains_key(name), "a header with {name} holds");
    }
    let typ = header.get("typ").map(|typ| typ.as_str().expect("a type is a text").to_ascii_lowercase());
    assert!(
        typ.is_none_or(|typ| ["jwt", "at+jwt", "application/at+jwt"].contains(&typ.as_str())),
        "no access token"
    );
}

fn is_as_claimed(bearer: &Bearer, claims: &Map<String, Value>) {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let audience = claims.get("aud").expect("it is for somebody");
    let is_ours = |one: &Value| one == "hubbub";
    assert!(
        is_ours(audience) || audience.as_array().is_some_and(|all| all.iter().any(is_ours)),
        "for {audience}"
    );
    assert_eq!(text("iss"), Some("hubbub"));
    let expires = claims.get("exp").and_then(Value::as_f64).expect("it ends");
    assert_eq!(format!("{expires}"), bearer.expires_at.to_string(), "it ends when it says");
    assert!((NOW - 30..=LATEST).contains(&bearer.expires_at), "it is over");
    assert_eq!(bearer.token_version.map(i64::from), claims.get("ver").and_then(Value::as_i64));

    let subject = text("sub").expect("it is somebody's");
    assert!(
        (1..=255).contains(&subject.len()) && !subject.contains(char::is_control),
        "{subject:?} is nobody"
    );
    match Uuid::try_parse(subject).ok().filter(|_| subject.len() == 36) {
        Some(id) => assert!(bearer.account == id && !id.is_nil() && !id.is_max(), "{id} is somebody else"),
        None => assert_eq!(bearer.account.get_version_num(), 5, "{subject:?} is hashed"),
    }
    for (shown, name) in [(&bearer.username, "username"), (&bearer.full_name, "full_name")] {
        if let Some(shown) = shown {
            is_clean(shown, text(name).expect("a name that is shown was claimed"));
        }
    }
    if let Some(avatar) = &bearer.avatar {
        assert_eq!(Some(avatar.as_str()), text("avatar"));
        let lower = avatar.to_ascii_lowercase();
        assert!(lower.starts_with("http:") || lower.starts_with("https:"), "{avatar} is no web address");
        assert!(avatar.len() <= 2048 && !avatar.contains(|c: char| c.is_control() || c.is_whitespace()));
    }
    if bearer.roles != Roles::NONE {
        let claimed =
            claims.get("roles").map(|roles| roles.to_string().to_ascii_lowercase()).unwrap_or_default();
        assert!(
            bearer.roles.to_names().iter().all(|role| claimed.contains(role)),
            "{claimed} gave more than that"
        );
    }
}

/// Short, visible, and the same when it is claimed again.
fn is_clean(shown: &str, claimed: &str) {
    assert!((1..=64).contains(&shown.chars().count()) && shown.trim() == shown, "{shown:?} of {claimed:?}");
    let hidden = |c: char| {
        c.is_control() || matches!(c, '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
    };
    assert!(
        !shown.contains(hidden) && !shown.contains(|c| matches!(c, '\u{2066}'..='\u{2069}')),
        "{shown:?}"
    );
    let claims = json!({"iss": "hubbub", "aud": "hubbub", "sub": "ana", "exp": LATEST, "username": shown});
    let again = CHECKER.verify(&signed(GOOD_HEADER.as_bytes(), claims.to_string().as_bytes(), OURS), NOW);
    assert_eq!(again.and_then(|bearer| bearer.username).as_deref(), Some(shown), "of {claimed:?}");
}

/// So good that there is nothing to think about.
fn is_plainly_good(claims: &Map<String, Value>) -> bool {
    let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
    let for_us = ["iss", "aud"].iter().all(|name| claims.get(*name).is_some_and(|value| value == "hubbub"));
    let lasts = claims.get("exp").and_then(Value::as_i64).is_some_and(|exp| (NOW..=LATEST).contains(&exp));
    let plain = (1..=30).contains(&subject.len()) && subject.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let doubtful = ["nbf", "iat", "ver"].iter().any(|name| claims.contains_key(*name));
    // A token has at most 8 KiB.
    for_us && lasts && plain && !doubtful && Value::Object(claims.clone()).to_string().len() < 4_000
}

fn good() -> String {
    static GOOD: LazyLock<String> = LazyLock::new(|| {
        signed(
            GOOD_HEADER.as_bytes(),
            br#"{"iss":"hubbub","aud":"hubbub","sub":"ana","exp":4100000000}"#,
            OURS,
        )
    });
    GOOD.clone()
}

fn signed(header: &[u8], claims: &[u8], secret: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = signature_of(&message, secret);
    format!("{message}.{signature}")
}

/// HMAC with SHA-256, RFC 2104, for keys of at most a block.
fn signature_of(message: &str, secret: &str) -> String {
    let keyed = |pad: u8| {
        let mut block = [pad; 64];
        block.iter_mut().zip(secret.bytes()).for_each(|(byte, key)| *byte ^= key);
        Sha256::new().chain_update(block)
    };
    let inner = keyed(0x36).chain_update(message).finalize();
    URL_SAFE_NO_PAD.encode(keyed(0x5c).chain_update(inner).finalize())
}

/// Tokens, headers and claims as they are in earnest.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let seed = |kind: u8, parts: &[&str]| [&[kind], parts.join("\n").as_bytes()].concat();
    let plain = r#"{"iss":"hubbub","aud":"hubbub","sub":"ana","exp":4100000000}"#;
    let rich = r#"{"iss":"hubbub","aud":["web","hubbub"],"sub":"6F9619FF-8B86-4011-B42D-00CF4FC964FF","exp":4.1e9,"iat":1,
        "nbf":1,"ver":3,"username":" e\u0301va\u202e ","full_name":"Eva","avatar":"https://img.example/a.png","roles":["HOST","x"]}"#;
    let listed = r#"{"exp":4100000000,"sub":"42","aud":"hubbub","iss":"hubbub","roles":"winner, admin"}"#;
    let modulus = format!("{}w", "u".repeat(341));
    let keys = format!(
        r#"{{"keys":[{{"kty":"RSA","use":"sig","alg":"RS256","kid":"one","n":"{modulus}","e":"AQAB"}}]}}"#
    );
    vec![
        seed(0, &[&good()]),
        seed(1, &[GOOD_HEADER, plain]),
        seed(1, &[r#"{"alg":"HS256","typ":"at+jwt","kid":"k"}"#, rich]),
        seed(2, &[GOOD_HEADER, listed]),
        seed(3, &[GOOD_HEADER, plain]),
        vec![4],
        vec![4, 0, 70, 0, 1],
        seed(5, &[&keys]),
    ]
}
