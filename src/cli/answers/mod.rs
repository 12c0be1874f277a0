//! The answers of the verbs as JSON: one struct for each, from which its JSON Schema is derived as well.
//!
//! An answer is printed in one envelope, an object whose first field is `schema`, `depsfs.<verb>/1`; the fields of the
//! struct follow in the same object. A field may be added to a version; one that is removed, or changes its meaning,
//! makes a new version. `depsfs json-schema` prints the schemas.

mod du;
mod error;
mod hook;
mod operations;
mod parts;
mod remote;
mod store;
mod top;
mod verbs;
mod worktrees;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::{Value, json};

pub use du::{DuAnswer, DuRowAnswer};
pub use error::{ErrorAnswer, NoteAnswer};
pub use hook::{HookAnswer, HookInstallAnswer, HookStatusAnswer, HookUninstallAnswer};
pub use operations::{LogAnswer, OperationAnswer};
pub use parts::{ComponentAnswer, JsonPath, ReasonAnswer};
pub use remote::{
    FetchAnswer, PushAnswer, PushedAnswer, RemoteAnswer, RemoteCheckAnswer, RemoteInitAnswer, RemoteListAnswer,
    RemotePruneAnswer,
};
pub use store::{
    ApproveAnswer, CacheExistsAnswer, CacheGetAnswer, CachePutAnswer, DamageAnswer, EntryAnswer, InitAnswer,
    ServiceInstallAnswer, ServiceUninstallAnswer, StoreAddAnswer, StoreListAnswer, StoreRemoveAnswer,
    StoreVerifyAnswer,
};
pub use top::{TopAnswer, TopRowAnswer};
pub use verbs::{
    DiffAnswer, DifferenceAnswer, DoctorAnswer, GcAnswer, ListAnswer, PathAnswer, ServiceAnswer, SyncAnswer, git_dir,
};
pub use worktrees::{
    AdoptAnswer, CreateAnswer, MountAnswer, MountedAnswer, MountedState, PublishAnswer, PublishedAnswer, RemoveAnswer,
    ResetAnswer, ThawAnswer, ThawedAnswer, UnmountAnswer,
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
    "adopt" => AdoptAnswer,
    "approve" => ApproveAnswer,
    "cache.exists" => CacheExistsAnswer,
    "cache.get" => CacheGetAnswer,
    "cache.put" => CachePutAnswer,
    "create" => CreateAnswer,
    "diff" => DiffAnswer,
    "doctor" => DoctorAnswer,
    "du" => DuAnswer,
    "error" => ErrorAnswer,
    "fetch" => FetchAnswer,
    "gc" => GcAnswer,
    "hook.install" => HookInstallAnswer,
    "hook.status" => HookStatusAnswer,
    "hook.uninstall" => HookUninstallAnswer,
    "init" => InitAnswer,
    "list" => ListAnswer,
    "log" => LogAnswer,
    "mount" => MountAnswer,
    "note" => NoteAnswer,
    "path" => PathAnswer,
    "publish" => PublishAnswer,
    "push" => PushAnswer,
    "remote.check" => RemoteCheckAnswer,
    "remote.init" => RemoteInitAnswer,
    "remote.list" => RemoteListAnswer,
    "remote.prune" => RemotePruneAnswer,
    "remove" => RemoveAnswer,
    "reset" => ResetAnswer,
    "service.install" => ServiceInstallAnswer,
    "service.status" => ServiceAnswer,
    "service.uninstall" => ServiceUninstallAnswer,
    "status" => WorktreeStatus,
    "store.add" => StoreAddAnswer,
    "store.list" => StoreListAnswer,
    "store.remove" => StoreRemoveAnswer,
    "store.verify" => StoreVerifyAnswer,
    "sync" => SyncAnswer,
    "thaw" => ThawAnswer,
    "top" => TopAnswer,
    "unmount" => UnmountAnswer,
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

    /// Verbs whose output is a text by its nature, or is that of another program, or of another verb: `pr` answers as
    /// `create`.
    const TEXTS: [&str; 9] =
        ["cd", "completions", "exec", "help", "hook.print", "json-schema", "pr", "shell", "shell-init"];

    #[test]
    fn every_verb_that_answers_has_a_schema() {
        use clap::CommandFactory;
        let mut command = crate::cli::Cli::command();
        command.build();
        let mut seen = 0;
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let names: Vec<String> = match verb.has_subcommands() {
                false => vec![verb.get_name().into()],
                true => {
                    let all = verb.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
                    all.map(|sub| format!("{}.{}", verb.get_name(), sub.get_name())).collect()
                }
            };
            for name in names.iter().filter(|name| !TEXTS.contains(&name.as_str())) {
                seen += 1;
                assert!(ALL.iter().any(|(verb, _)| verb == name), "{name} has no answer in JSON");
            }
        }
        assert!(seen > 20, "only {seen} verbs were found");
    }

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
