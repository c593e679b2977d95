//! What JSON of a client may look like, looked at before anything is built from it: nesting and keys are counted on the
//! bytes, so that neither costs stack or memory here, nor is stored for others to choke on.

use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::{Code, Refusal};

/// How deep and how wide a value may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JsonLimits {
    pub(crate) depth: usize,
    pub(crate) keys: usize,
}

/// Reads any value.
pub(crate) fn read(bytes: &[u8], limits: JsonLimits) -> Result<Value, Refusal> {
    check_shape(bytes, limits).map_err(|problem| Refusal::new(Code::Invalid, problem))?;
    serde_json::from_slice(bytes).map_err(|error| invalid(&error))
}

/// Reads an object. All of it is read as a value first: in a member that `T` does not have, serde takes bytes that are no
/// text and halves of characters. Then it is read again from the bytes, because only there a repeated name is refused.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], limits: JsonLimits) -> Result<T, Refusal> {
    // serde would take a list for an object whose names were left out.
    if !read(bytes, limits)?.is_object() {
        return Err(Refusal::new(Code::Invalid, "This is not a JSON object"));
    }
    serde_json::from_slice(bytes).map_err(|error| invalid(&error))
}

fn invalid(error: &serde_json::Error) -> Refusal {
    Refusal::new(Code::Invalid, describe(error))
}

/// In words that hold nothing of the value itself.
fn describe(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => {
            // serde's own words may repeat a value: what it wanted is behind the last comma.
            let text = error.to_string();
            let wanted = text.split(" at line ").next().unwrap_or_default();
            match wanted.strip_prefix("missing field ") {
                Some(field) => format!("Field {field} is missing"),
                None => match wanted.rsplit_once(", ") {
                    Some((_, expected)) => format!("A value is not of its type: {expected}"),
                    None => "A value is not of its type".to_owned(),
                },
            }
        }
        _ => "This is not valid JSON".to_owned(),
    }
}

/// Counts braces, brackets and keys outside of strings. What is not JSON at all is left to the parser.
fn check_shape(bytes: &[u8], limits: JsonLimits) -> Result<(), &'static str> {
    // For each open bracket: the number of keys seen in it; arrays have none.
    let mut open: Vec<usize> = Vec::new();
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'{' | b'[' => {
                open.push(0);
                if open.len() > limits.depth {
                    return Err("JSON is nested too deeply");
                }
            }
            b'}' | b']' => {
                open.pop();
            }
            b':' => {
                if let Some(keys) = open.last_mut() {
                    *keys += 1;
                    if *keys > limits.keys {
                        return Err("A JSON object has too many keys");
                    }
                }
            }
            b'"' => skip_string(&mut rest),
            _ => {}
        }
    }
    Ok(())
}

fn skip_string(rest: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => {
                rest.next();
            }
            b'"' => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: JsonLimits = JsonLimits { depth: 16, keys: 64 };

    #[derive(serde::Deserialize, Debug)]
    struct Body {
        #[allow(dead_code, reason = "only its type matters here")]
        message: String,
    }

    fn code(json: &str) -> Result<Value, Code> {
        read(json.as_bytes(), LIMITS).map_err(|refusal| refusal.code)
    }

    #[test]
    fn s21_json_is_bounded_in_depth_and_keys_before_it_is_built() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(code(&nested(16)).is_ok());
        assert_eq!(code(&nested(17)), Err(Code::Invalid));
        assert_eq!(code(&nested(100_000)), Err(Code::Invalid));
        let wide = |keys: usize| {
            let pairs: Vec<String> = (0..keys).map(|key| format!("\"{key}\":1")).collect();
            format!("{{{}}}", pairs.join(","))
        };
        assert!(code(&wide(64)).is_ok());
        assert_eq!(code(&wide(65)), Err(Code::Invalid));
        assert!(
            code(r#"{"a":"[[[[[[[[[[[[[[[[[[[[[[[[\"{{{{{{{{{{{"}"#).is_ok(),
            "brackets in strings do not count"
        );
    }

    #[test]
    fn s21_lone_surrogates_and_numbers_without_end_are_refused() {
        for bad in [r#""\ud800""#, r#""\udc00x""#, "1e999", "NaN", "{", "", "\"\u{0}\""] {
            assert_eq!(code(bad), Err(Code::Invalid), "{bad}");
        }
        assert!(code(r#""\ud83d\ude00""#).is_ok());
    }

    #[test]
    fn s21_a_body_is_an_object_and_json_throughout() {
        let code = |json: &[u8]| {
            parse::<Body>(json, LIMITS).map(|body| body.message).map_err(|refusal| refusal.code)
        };
        assert_eq!(code(br#"{"message":"hi","other":["x"]}"#), Ok("hi".to_owned()));
        let bad: [&[u8]; 5] = [
            b"{\"message\":\"hi\",\"other\":\"\xcf\"}",
            br#"{"message":"hi","other":"\ud800"}"#,
            br#"{"message":"hi","other":1e999}"#,
            br#"["hi"]"#,
            br#"{"message":"hi","message":"ho"}"#,
        ];
        for json in bad {
            assert_eq!(code(json), Err(Code::Invalid), "{}", String::from_utf8_lossy(json));
        }
    }

    #[test]
    fn a_problem_is_described_without_the_value() {
        let words = |json: &str| parse::<Body>(json.as_bytes(), LIMITS).unwrap_err().message.into_owned();
        assert_eq!(words("{}"), "Field `message` is missing");
        assert_eq!(words(r#"{"message": 17}"#), "A value is not of its type: expected a string");
        assert!(!words(r#"{"message": ["secret, words"]}"#).contains("secret"));
    }
}
