//! A secret is read in one place and shown in none: the type has no `Debug`, no `Display` and no `Serialize`, so a
//! log line that would leak one does not compile.

use sha2::{Digest, Sha256};

/// Fewest bytes of a secret that signs something or opens a door: what HS256 needs to be worth its name.
pub const SECRET_BYTES_MIN: usize = 32;

/// Fewest different bytes in such a secret. A random one of 32 bytes has about 30, of 64 hex digits about 16.
const DISTINCT_BYTES_MIN: usize = 10;

/// The key that a development node signs with when it was given none. Refused in production.
pub const DEVELOPMENT_KEY: &str = "hubbub-development-only-key-never-in-production";

/// Secrets that stand in tutorials and templates: whoever reads those can sign with them.
const KNOWN: [&str; 6] = [
    DEVELOPMENT_KEY,
    "a-string-secret-at-least-256-bits-long",
    "super-secret-jwt-token-with-at-least-32-characters-long",
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "0123456789abcdef0123456789abcdef",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
];

/// Fragments, in lower case without separators, by which a value says that it is a placeholder.
const PLACEHOLDERS: [&str; 8] = [
    "yoursecret",
    "secretkeyhere",
    "yoursuper",
    "your256bit",
    "changeme",
    "changethis",
    "replaceme",
    "placeholder",
];

/// A value that must not be shown.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes the value in.
    pub fn new(value: impl Into<String>) -> Secret {
        Secret(value.into())
    }

    /// The value itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `candidate` is this secret. The time taken says nothing about where the two differ: digests are
    /// compared, and all of them.
    pub fn matches(&self, candidate: &str) -> bool {
        let (ours, theirs) = (Sha256::digest(self.0.as_bytes()), Sha256::digest(candidate.as_bytes()));
        ours.iter().zip(theirs.iter()).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    }

    /// Why this must not sign anything, if it must not.
    pub fn weakness(&self) -> Option<&'static str> {
        let bare: String =
            self.0.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        if KNOWN.contains(&self.0.as_str()) || PLACEHOLDERS.iter().any(|known| bare.contains(known)) {
            return Some("a value of your own: this one is publicly known (try `openssl rand -hex 32`)");
        }
        if self.0.len() < SECRET_BYTES_MIN {
            return Some("at least 32 bytes (try `openssl rand -hex 32`)");
        }
        let distinct = self.0.bytes().collect::<std::collections::HashSet<_>>().len();
        (distinct < DISTINCT_BYTES_MIN).then_some("a random value (try `openssl rand -hex 32`)")
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Display};
    use std::marker::PhantomData;

    use super::*;

    /// Picks the inherent constant when the bound holds, the trait's otherwise.
    struct Shown<T>(PhantomData<T>);
    trait Hidden {
        const DEBUG: bool = false;
        const DISPLAY: bool = false;
        const SERIALIZE: bool = false;
    }
    impl<T> Hidden for Shown<T> {}
    impl<T: Debug> Shown<T> {
        const DEBUG: bool = true;
    }
    impl<T: Display> Shown<T> {
        const DISPLAY: bool = true;
    }
    impl<T: serde::Serialize> Shown<T> {
        const SERIALIZE: bool = true;
    }

    #[test]
    fn s38_a_secret_cannot_be_shown() {
        const { assert!(Shown::<String>::DEBUG && Shown::<String>::DISPLAY && Shown::<String>::SERIALIZE) };
        const { assert!(!Shown::<Secret>::DEBUG && !Shown::<Secret>::DISPLAY && !Shown::<Secret>::SERIALIZE) };
    }

    #[test]
    fn s38_weak_secrets_are_told_apart() {
        let weak = [
            "",
            "short",
            "your-secret-key-here",
            "YOUR_SECRET_KEY_HERE_YOUR_SECRET_KEY_HERE",
            "please-change-me-please-change-me-please",
            "a-string-secret-at-least-256-bits-long",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "0123456789abcdef0123456789abcdef",
            DEVELOPMENT_KEY,
        ];
        for value in weak {
            assert!(Secret::new(value).weakness().is_some(), "{value} was taken");
        }
        for value in ["7f3c9be1a5d2480c96e1f0b8d4a37c52", "n2Vd8qX0sK4pLw6ZbT1yRj9cGfHm3AeU5oQiDx7v"] {
            assert_eq!(Secret::new(value).weakness(), None, "{value} was refused");
        }
    }

    #[test]
    fn s41_secrets_match_only_themselves() {
        let secret = Secret::new("7f3c9be1a5d2480c96e1f0b8d4a37c52");
        assert!(secret.matches("7f3c9be1a5d2480c96e1f0b8d4a37c52"));
        for other in ["", "7f3c9be1a5d2480c96e1f0b8d4a37c5", "7f3c9be1a5d2480c96e1f0b8d4a37c53", "\0"] {
            assert!(!secret.matches(other));
        }
    }
}
