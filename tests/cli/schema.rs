//! Answers of `--json` against the JSON Schema that the program prints for them.
//!
//! The checker knows the words of JSON Schema that those schemas have, and fails at another; it also refuses a field that
//! its schema does not name.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::PROGRAM;

/// Words that describe, and allow everything.
const PLAIN: [&str; 8] = ["$schema", "$defs", "title", "description", "format", "default", "minimum", "maximum"];

/// Fails unless an object with a field `schema` is as the schema of that name.
#[track_caller]
pub fn check(value: &Value) {
    let Some(name) = value["schema"].as_str().filter(|name| name.starts_with("depsfs.")) else { return };
    let schema = printed(name);
    let wrong = faults(&schema, &schema, value, name);
    assert!(wrong.is_empty(), "{wrong:#?}\nin {value:#}");
}

/// The schema that the program prints for a name, such as `depsfs.store.list/1`.
fn printed(name: &str) -> Value {
    static KNOWN: Mutex<BTreeMap<String, Value>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let verb = name.trim_start_matches("depsfs.").split('/').next().unwrap().to_owned();
    let print = || {
        let printed = Command::new(PROGRAM).arg("json-schema").args(verb.split('.')).output().unwrap();
        assert!(printed.status.success(), "{name}: {printed:?}");
        serde_json::from_slice::<Value>(&printed.stdout).unwrap()
    };
    known.entry(name.to_owned()).or_insert_with(print).clone()
}

/// Each way in which a value is not as its schema, with its place.
pub fn faults(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let Some(words) = schema.as_object() else {
        return if *schema == json!(true) { vec![] } else { vec![format!("{at} may not be there")] };
    };
    let mut wrong = Vec::new();
    for (word, of) in words {
        match word.as_str() {
            "$ref" => {
                let pointer = of.as_str().unwrap().trim_start_matches('#');
                wrong.extend(faults(root, root.pointer(pointer).expect("the reference leads there"), value, at));
            }
            "type" => wrong.extend((!has_type(of, value)).then(|| format!("{at} is no {of}: {value}"))),
            "const" => wrong.extend((of != value).then(|| format!("{at} is not {of}: {value}"))),
            "enum" => {
                let is_one = of.as_array().unwrap().contains(value);
                wrong.extend((!is_one).then(|| format!("{at} is none of {of}: {value}")));
            }
            "required" => {
                let absent = |field: &&Value| value.get(field.as_str().unwrap()).is_none() && value.is_object();
                let absent = of.as_array().unwrap().iter().filter(absent);
                wrong.extend(absent.map(|field| format!("{at} lacks {field}")));
            }
            "properties" | "additionalProperties" => {}
            "items" => {
                let all = value.as_array().into_iter().flatten().enumerate();
                wrong.extend(all.flat_map(|(n, item)| faults(root, of, item, &format!("{at}[{n}]"))));
            }
            "anyOf" | "oneOf" => {
                let each: Vec<_> = of.as_array().unwrap().iter().map(|one| faults(root, one, value, at)).collect();
                let fits = each.iter().filter(|faults| faults.is_empty()).count();
                if fits == 0 || (word == "oneOf" && fits > 1) {
                    wrong.push(format!("{at} fits {fits} of {word}: {each:?}"));
                }
            }
            plain => assert!(PLAIN.contains(&plain), "the checker does not know the word {plain}"),
        }
    }
    wrong.extend(fields(root, schema, value, at));
    wrong
}

/// The faults of the fields of an object.
fn fields(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let named = schema.get("properties").and_then(Value::as_object);
    let others = schema.get("additionalProperties");
    let (Some(object), true) = (value.as_object(), named.is_some() || others.is_some()) else { return vec![] };
    let check = |(field, value): (&String, &Value)| {
        let at = format!("{at}.{field}");
        match (named.and_then(|named| named.get(field)), others) {
            (Some(schema), _) | (None, Some(schema)) => faults(root, schema, value, &at),
            (None, None) => vec![format!("{at} is not in the schema")],
        }
    };
    object.iter().flat_map(check).collect()
}

fn has_type(of: &Value, value: &Value) -> bool {
    match of {
        Value::Array(any) => any.iter().any(|one| has_type(one, value)),
        of => match of.as_str().unwrap() {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            other => panic!("the checker does not know the type {other}"),
        },
    }
}

#[test]
fn the_checker_finds_each_kind_of_fault() {
    let schema = json!({
        "type": "object", "required": ["a"], "$defs": {"kind": {"enum": ["x", "y"]}},
        "properties": {
            "a": {"type": "integer"}, "b": {"type": ["string", "null"]}, "k": {"$ref": "#/$defs/kind"},
            "l": {"type": "array", "items": {"const": 1}}, "o": {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
            "m": {"type": "object", "additionalProperties": {"type": "integer"}}
        }
    });
    let n = |value: Value| faults(&schema, &schema, &value, "it").len();
    assert_eq!(n(json!({"a": 1, "b": null, "k": "x", "l": [1], "o": true, "m": {"z": 1}})), 0);
    for wrong in [
        json!({}),
        json!({"a": "1"}),
        json!({"a": 1, "b": 2}),
        json!({"a": 1, "k": "z"}),
        json!({"a": 1, "l": [1, 2]}),
        json!({"a": 1, "o": "no"}),
        json!({"a": 1, "m": {"z": "1"}}),
        json!({"a": 1, "unknown": 1}),
    ] {
        assert_eq!(n(wrong.clone()), 1, "{wrong}");
    }
}
