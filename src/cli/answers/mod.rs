//! The answers of the verbs as JSON: one struct for each, from which its JSON Schema is derived as well.
//!
//! An answer is printed in one envelope, an object whose first field is `schema`, `depsfs.<verb>/1`; the fields of the
//! struct follow in the same object. A field may be added to a version; one that is removed, or changes its meaning,
//! makes a new version. `depsfs json-schema` prints the schemas.

mod error;
mod parts;
mod verbs;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::{Value, json};

pub use error::{ErrorAnswer, NoteAnswer};
pub use parts::{ComponentAnswer, JsonPath};
pub use verbs::{
    DiffAnswer, DifferenceAnswer, DoctorAnswer, GcAnswer, ListAnswer, PathAnswer, ServiceAnswer, SyncAnswer, git_dir,
};

use crate::views::status::WorktreeStatus;

/// The answer of a verb.
pub trait Answer: Serialize + JsonSchema {
    /// The verb, a sub-verb after a dot.
    const VERB: &'static str;
}

/// Names the verb of each answer, and makes the list of all schemas.
macro_rules! answers {
    ($($verb:literal => $answer:ty),* $(,)?) => {
        $(impl Answer for $answer {
            const VERB: &'static str = $verb;
        })*

        /// Each verb that answers, by name, and the function that makes its schema.
        pub const ALL: &[(&str, fn() -> Value)] = &[$(($verb, schema::<$answer>)),*];
    };
}

answers! {
    "diff" => DiffAnswer,
    "doctor" => DoctorAnswer,
    "error" => ErrorAnswer,
    "gc" => GcAnswer,
    "list" => ListAnswer,
    "note" => NoteAnswer,
    "path" => PathAnswer,
    "service.status" => ServiceAnswer,
    "status" => WorktreeStatus,
    "sync" => SyncAnswer,
}

/// The object that every answer is printed as.
#[derive(Serialize)]
struct Envelope<'a, A> {
    schema: String,
    #[serde(flatten)]
    answer: &'a A,
}

fn envelope<A: Answer>(answer: &A) -> Envelope<'_, A> {
    Envelope { schema: name::<A>(), answer }
}

/// The name of a schema, as the field `schema` has it.
fn name<A: Answer>() -> String {
    format!("depsfs.{}/1", A::VERB)
}

/// An answer in its envelope, over several lines.
pub fn pretty<A: Answer>(answer: &A) -> String {
    serde_json::to_string_pretty(&envelope(answer)).expect("answers have string keys") + "\n"
}

/// An answer in its envelope, on one line without its end.
pub fn line<A: Answer>(answer: &A) -> String {
    serde_json::to_string(&envelope(answer)).expect("answers have string keys")
}

/// The JSON Schema of an answer with its envelope.
fn schema<A: Answer>() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<A>().to_value();
    schema["title"] = name::<A>().into();
    schema["properties"]["schema"] = json!({"const": name::<A>()});
    match schema["required"].as_array_mut() {
        Some(required) => required.insert(0, "schema".into()),
        None => schema["required"] = json!(["schema"]),
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_is_of_an_object_that_requires_its_name_and_the_list_is_sorted() {
        for (verb, schema) in ALL {
            let schema = schema();
            assert_eq!(schema["type"], "object", "{verb}");
            assert_eq!(schema["properties"]["schema"]["const"], format!("depsfs.{verb}/1"));
            assert!(schema["required"].as_array().is_some_and(|r| r.contains(&json!("schema"))), "{verb}");
        }
        assert!(ALL.is_sorted_by_key(|(verb, _)| *verb));
    }
}
