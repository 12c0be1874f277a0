//! `depsfs json-schema`.

use clap::Args;

use super::answers;
use super::output;
use super::report::Failure;

const EXAMPLES: &str = "Examples:
  depsfs json-schema list
  depsfs json-schema error";

/// Print the JSON Schema of a verb's answer to --json
///
/// Without a verb: the names of all that there are, one a line. error and note are what stderr gets with --json.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct JsonSchemaCommand {
    /// A verb with its sub-verb
    verb: Vec<String>,
}

impl JsonSchemaCommand {
    /// Prints one schema, or the names of all.
    ///
    /// # Errors
    /// No verb has that name; standard output can't be written.
    pub fn run(self) -> Result<(), Failure> {
        if self.verb.is_empty() {
            return output::print(&answers::ALL.iter().map(|(verb, _)| format!("{verb}\n")).collect::<String>());
        }
        let wanted = self.verb.join(".");
        let found = answers::ALL.iter().find(|(verb, _)| *verb == wanted);
        let (_, schema) =
            found.ok_or(Failure::Usage("that verb prints no JSON", "depsfs json-schema lists those that do"))?;
        output::json(&schema())
    }
}
