//! So much of JSON Schema as our documents use, and strict: a field that a schema does not name does not conform, because
//! we wrote both. A keyword that is not known here fails the test that meets it.

use serde_json::{Map, Value};

/// What says something about a value, and what is only said to people.
const KNOWN: [&str; 19] = [
    "$ref",
    "type",
    "properties",
    "additionalProperties",
    "propertyNames",
    "required",
    "enum",
    "const",
    "oneOf",
    "allOf",
    "items",
    "pattern",
    "format",
    "minimum",
    "minLength",
    "maxLength",
    "description",
    "examples",
    "example",
];

/// Whether `value` is what `schema` says; `document` holds what it refers to.
pub(super) fn conforms(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let mut known = Map::new();
    check(document, schema, value, &mut known)?;
    let unknown = value.as_object().into_iter().flatten().find(|(name, _)| !known.contains_key(*name));
    match unknown {
        Some((name, _)) if !known.is_empty() => Err(format!("{name} is not described")),
        _ => Ok(()),
    }
}

/// `known` gathers the fields that the schema and its parts name.
fn check(
    document: &Value,
    schema: &Value,
    value: &Value,
    known: &mut Map<String, Value>,
) -> Result<(), String> {
    let schema = schema.as_object().ok_or("a schema is an object")?;
    if let Some(keyword) = schema.keys().find(|keyword| !KNOWN.contains(&keyword.as_str())) {
        return Err(format!("the keyword {keyword} is new here"));
    }
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = document.pointer(reference.trim_start_matches('#')).ok_or("a dangling reference")?;
        check(document, target, value, known)?;
    }
    for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        check(document, part, value, known)?;
    }
    if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
        let fitting = choices.iter().filter(|choice| conforms(document, choice, value).is_ok()).count();
        if fitting != 1 {
            return Err(format!("{fitting} choices fit {value}"));
        }
    }
    check_value(schema, value)?;
    check_fields(document, schema, value, known)
}

fn check_value(schema: &Map<String, Value>, value: &Value) -> Result<(), String> {
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !kinds.is_empty() && !kinds.iter().any(|kind| is_of_type(value, kind)) {
        return Err(format!("{value} is none of {kinds:?}"));
    }
    match schema.get("enum").and_then(Value::as_array) {
        Some(values) if !values.contains(value) => Err(format!("{value} is none of {values:?}")),
        _ => Ok(()),
    }
}

fn is_of_type(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

fn check_fields(
    document: &Value,
    schema: &Map<String, Value>,
    value: &Value,
    known: &mut Map<String, Value>,
) -> Result<(), String> {
    for name in
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        if value.get(name).is_none() {
            return Err(format!("{name} is missing"));
        }
    }
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        known.insert(name.clone(), Value::Null);
        if let Some(field) = value.get(name) {
            conforms(document, property, field).map_err(|why| format!("{name}: {why}"))?;
        }
    }
    // A map: its names are whatever the sender likes.
    if let (Some(schema), Some(members)) = (schema.get("additionalProperties"), value.as_object()) {
        for (name, member) in members {
            known.insert(name.clone(), Value::Null);
            conforms(document, schema, member).map_err(|why| format!("{name}: {why}"))?;
        }
    }
    if let (Some(schema), Some(items)) = (schema.get("items"), value.as_array()) {
        for item in items {
            conforms(document, schema, item)?;
        }
    }
    Ok(())
}

/// References to what is not in the document.
pub(super) fn dangling_references(document: &Value) -> Vec<String> {
    let mut dangling = Vec::new();
    let mut left = vec![document];
    while let Some(value) = left.pop() {
        match value {
            Value::Array(items) => left.extend(items),
            Value::Object(members) => {
                left.extend(members.values());
                let reference = members.get("$ref").and_then(Value::as_str);
                dangling.extend(
                    reference
                        .filter(|reference| document.pointer(reference.trim_start_matches('#')).is_none())
                        .map(str::to_owned),
                );
            }
            _ => {}
        }
    }
    dangling
}
