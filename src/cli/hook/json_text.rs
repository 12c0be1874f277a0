//! Edits of JSON text that keep every other byte: order, indentation and spaces of the user's file.
//!
//! A part that is inserted and removed again leaves the text as it was.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// The place of a value in its text.
pub type Span = Range<usize>;

/// The children of an object, with their keys, or of an array, without.
struct Children<'a>(Vec<(Option<String>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Children<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Children<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or an array")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Children<'de>, A::Error> {
                let mut found = Vec::new();
                while let Some((key, value)) = map.next_entry()? {
                    found.push((Some(key), value));
                }
                Ok(Children(found))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Children<'de>, A::Error> {
                let mut found = Vec::new();
                while let Some(value) = list.next_element()? {
                    found.push((None, value));
                }
                Ok(Children(found))
            }
        }
        from.deserialize_any(Reader)
    }
}

/// The value of the whole text; `None` if it is not JSON.
pub fn top(text: &str) -> Option<Span> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let start = text.len() - text.trim_start().len();
    Some(start..text.trim_end().len())
}

/// The value below some keys.
pub fn at(text: &str, keys: &[&str]) -> Option<Span> {
    let mut span = top(text)?;
    for key in keys {
        span = children(text, &span).into_iter().rev().find(|(name, _)| name.as_deref() == Some(key))?.1;
    }
    Some(span)
}

/// The children of an object or an array, in their order; none of another value.
pub fn children(text: &str, of: &Span) -> Vec<(Option<String>, Span)> {
    let base = text.as_ptr() as usize;
    let span = |raw: &RawValue| {
        let start = raw.get().as_ptr() as usize - base;
        start..start + raw.get().len()
    };
    let Ok(Children(found)) = serde_json::from_str(&text[of.clone()]) else { return Vec::new() };
    found.into_iter().map(|(key, raw)| (key, span(raw))).collect()
}

/// Adds a member behind the others of an object, or an element behind those of an array (without a key).
pub fn append(text: &str, to: &Span, key: Option<&str>, value: &Value) -> String {
    let all = children(text, to);
    let Some((_, last)) = all.last() else { return alone(text, to, key, value) };
    let before = gap(text, to);
    let piece = piece(key, value, before);
    [&text[..last.end], ",", if before.is_empty() && key.is_none() { " " } else { before }, &piece, &text[last.end..]]
        .concat()
}

/// Adds an element before the others of an array.
pub fn prepend(text: &str, to: &Span, value: &Value) -> String {
    let all = children(text, to);
    let Some((_, first)) = all.first() else { return alone(text, to, None, value) };
    let before = gap(text, to);
    let piece = piece(None, value, before);
    [&text[..first.start], &piece, ",", if before.is_empty() { " " } else { before }, &text[first.start..]].concat()
}

/// Removes a child of an object or an array.
pub fn remove(text: &str, of: &Span, index: usize) -> String {
    let all = children(text, of);
    let begin = |n: usize| match n {
        0 => of.start + 1 + gap(text, of).len(),
        _ => {
            let after_comma = all[n - 1].1.end + text[all[n - 1].1.end..].find(',').map_or(0, |at| at + 1);
            text.len() - text[after_comma..].trim_start().len()
        }
    };
    let cut = match index {
        0 if all.len() == 1 => of.start + 1..of.end - 1,
        0 => begin(0)..begin(1),
        _ => all[index - 1].1.end..all[index].1.end,
    };
    [&text[..cut.start], &text[cut.end..]].concat()
}

/// Removes the value below some keys, and each object above it that is then empty, but not the whole.
pub fn remove_with_empty(text: &str, keys: &[&str]) -> String {
    let Some((last, above)) = keys.split_last() else { return text.to_owned() };
    let Some(of) = at(text, above) else { return text.to_owned() };
    let all = children(text, &of);
    match all.iter().position(|(key, _)| key.as_deref() == Some(last)) {
        Some(_) if all.len() == 1 && !above.is_empty() => remove_with_empty(text, above),
        Some(index) => remove(text, &of, index),
        None => text.to_owned(),
    }
}

/// The object below some keys.
///
/// # Errors
/// The text is not JSON, or something else is there.
pub fn object(text: &str, keys: &[&str]) -> Result<Span, String> {
    if let Err(e) = serde_json::from_str::<IgnoredAny>(text) {
        return Err(format!("it is not JSON: {e}"));
    }
    let name = if keys.is_empty() { "it".to_owned() } else { keys.join(".") };
    at(text, keys).filter(|span| text[span.clone()].starts_with('{')).ok_or_else(|| format!("{name} is no object"))
}

/// A text as it stands between the quotation marks of JSON.
pub fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// The only child of an object or an array.
fn alone(text: &str, to: &Span, key: Option<&str>, value: &Value) -> String {
    let line = &text[text[..to.start].rfind('\n').map_or(0, |at| at + 1)..to.start];
    let indent: String = line.chars().take_while(|c| c.is_whitespace()).collect();
    let before = format!("\n{indent}{}", unit(text));
    let piece = piece(key, value, &before);
    format!("{}{before}{piece}\n{indent}{}", &text[..to.start + 1], &text[to.end - 1..])
}

/// The whitespace before the first child of an object or an array.
fn gap<'a>(text: &'a str, of: &Span) -> &'a str {
    let inner = &text[of.start + 1..of.end];
    &inner[..inner.len() - inner.trim_start().len()]
}

/// The indentation of one level: that of the first member of the whole object.
fn unit(text: &str) -> &str {
    let first = top(text).map_or("", |whole| gap(text, &whole));
    match first.rsplit_once('\n') {
        Some((_, unit)) if !unit.is_empty() && text[top(text).unwrap_or(0..0)].len() > first.len() + 2 => unit,
        _ => "  ",
    }
}

/// A member or an element, over several lines if the first of its siblings has a line of its own.
fn piece(key: Option<&str>, value: &Value, before: &str) -> String {
    let key = key.map(|key| Value::from(key).to_string());
    let Some((_, indent)) = before.rsplit_once('\n') else {
        return key.map_or_else(|| value.to_string(), |key| format!("{key}: {value}"));
    };
    let text = serde_json::to_string_pretty(value).unwrap_or_default().replace('\n', &format!("\n{indent}"));
    key.map_or_else(|| text.clone(), |key| format!("{key}: {text}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXTS: [&str; 7] = [
        "{}\n",
        "{\"a\":1}",
        "{\"a\": [1, 2], \"b\": {\"c\": []}}\n",
        "{\n  \"a\": [\n    1,\n    {\"x\" : \"},]\"}\n  ],\n  \"b\": {\n    \"c\": []\n  }\n}\n",
        "\n{\n\t\"z\" : 1.50 ,\n\t\"a\" : [ \"é\\u00e9\" ]\n}\n\n",
        "{\r\n    \"a\": [ ],\r\n    \"b\": \"{\"\r\n}\r\n",
        "{ \"a\": [[1,2],[3]] }",
    ];

    #[test]
    fn a_member_or_element_that_is_removed_again_leaves_the_text_as_it_was() {
        let value = json!([{"hooks": [{"command": "x"}]}]);
        for text in TEXTS {
            let whole = top(text).unwrap();
            let added = append(text, &whole, Some("new"), &value);
            let mut expected: Value = serde_json::from_str(text).unwrap();
            expected["new"] = value.clone();
            assert_eq!(serde_json::from_str::<Value>(&added).unwrap(), expected, "{added}");
            let last = children(&added, &top(&added).unwrap()).len() - 1;
            assert_eq!(remove(&added, &top(&added).unwrap(), last), text, "{added}");
            let Some(list) = at(text, &["a"]).filter(|at| !children(text, at).is_empty()) else { continue };
            let first = prepend(text, &list, &json!("first"));
            assert_eq!(serde_json::from_str::<Value>(&first).unwrap()["a"][0], "first", "{first}");
            assert_eq!(remove(&first, &at(&first, &["a"]).unwrap(), 0), text, "{first}");
            let end = append(text, &list, None, &json!("last"));
            let n = children(&end, &at(&end, &["a"]).unwrap()).len() - 1;
            assert_eq!(serde_json::from_str::<Value>(&end).unwrap()["a"][n], "last", "{end}");
            assert_eq!(remove(&end, &at(&end, &["a"]).unwrap(), n), text, "{end}");
        }
    }

    #[test]
    fn an_inserted_member_is_indented_as_its_siblings() {
        let text = "{\n    \"a\": 1\n}\n";
        let added = append(text, &top(text).unwrap(), Some("b"), &json!({"c": [1]}));
        assert_eq!(added, "{\n    \"a\": 1,\n    \"b\": {\n      \"c\": [\n        1\n      ]\n    }\n}\n");
        let text = "{}\n";
        let added = append(text, &top(text).unwrap(), Some("b"), &json!(1));
        assert_eq!(added, "{\n  \"b\": 1\n}\n");
        assert_eq!(at(text, &["b"]), None);
        assert_eq!(top("{,}"), None);
    }
}
