//! The answers of `depsfs hook`.

use schemars::JsonSchema;
use serde::Serialize;

use super::JsonPath;

/// The hook of one program, or a text for coding agents.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HookAnswer {
    pub name: &'static str,
    /// `absent`, `current`, `outdated` (of another version or place) or `replaced` (by another program's hook).
    pub state: &'static str,
    pub file: JsonPath,
}

/// `depsfs hook install`: those that are installed now.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HookInstallAnswer {
    pub hooks: Vec<HookAnswer>,
}

/// `depsfs hook uninstall`: those that were installed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HookUninstallAnswer {
    pub hooks: Vec<HookAnswer>,
}

/// `depsfs hook status`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HookStatusAnswer {
    pub hooks: Vec<HookAnswer>,
}
