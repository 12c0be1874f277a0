//! `depsfs hook-input`: one field of the JSON that a hook gets on stdin, for scripts on machines without jq.

use std::io::Read;

use clap::Args;
use serde_json::Value;

use super::output;
use super::report::Failure;

/// Print the first of the named fields that is a string, of a JSON object on stdin
#[derive(Args)]
pub struct HookInput {
    /// Names of fields
    #[arg(required = true)]
    fields: Vec<String>,
}

impl HookInput {
    pub fn run(self) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(Failure::os("read the standard input"))?;
        let input: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let found = self.fields.iter().find_map(|field| input.get(field)?.as_str().filter(|text| !text.is_empty()));
        let wanted = "the input is no JSON object with such a field";
        output::print(&format!("{}\n", found.ok_or(Failure::Usage(wanted, "look at the JSON that the caller sends"))?))
    }
}
