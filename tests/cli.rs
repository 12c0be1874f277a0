//! The `depsfs` command from outside: real git, real mounts, exit codes and words.
//!
//! Needs FUSE. Every test has its own store and repository below a temporary directory and leaves nothing mounted.

#[path = "cli/acceptance.rs"]
mod acceptance;
#[path = "cli/access.rs"]
mod access;
#[path = "cli/adopt.rs"]
mod adopt;
#[path = "cli/approve.rs"]
mod approve;
#[path = "cli/at_once.rs"]
mod at_once;
#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/branch.rs"]
mod branch;
#[path = "cli/builds.rs"]
mod builds;
#[path = "cli/cache.rs"]
mod cache;
#[path = "cli/checks.rs"]
mod checks;
#[path = "cli/completion.rs"]
mod completion;
#[path = "cli/components.rs"]
mod components;
#[path = "cli/copies.rs"]
mod copies;
#[path = "cli/create.rs"]
mod create;
#[path = "cli/damage.rs"]
mod damage;
#[path = "cli/directories.rs"]
mod directories;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/dry_run.rs"]
mod dry_run;
#[path = "cli/du.rs"]
mod du;
#[path = "cli/errors.rs"]
mod errors;
#[path = "cli/everywhere.rs"]
mod everywhere;
#[path = "cli/exec.rs"]
mod exec;
#[path = "cli/fill.rs"]
mod fill;
#[path = "cli/foreign.rs"]
mod foreign;
#[path = "cli/foreign_paths.rs"]
mod foreign_paths;
#[path = "cli/full.rs"]
mod full;
#[path = "cli/gc.rs"]
mod gc;
#[path = "cli/git.rs"]
mod git;
#[path = "cli/git_equal.rs"]
mod git_equal;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/hook.rs"]
mod hook;
#[path = "cli/hung.rs"]
mod hung;
#[path = "cli/include.rs"]
mod include;
#[path = "cli/init.rs"]
mod init;
#[path = "cli/integrations.rs"]
mod integrations;
#[path = "cli/json.rs"]
mod json;
#[path = "cli/killed.rs"]
mod killed;
#[path = "cli/life.rs"]
mod life;
#[path = "cli/log.rs"]
mod log;
#[path = "cli/many.rs"]
mod many;
#[cfg(feature = "remote")]
#[path = "cli/moto.rs"]
mod moto;
#[path = "cli/moved_away.rs"]
mod moved_away;
#[path = "cli/mtimes.rs"]
mod mtimes;
#[path = "cli/names.rs"]
mod names;
#[path = "cli/namespaces.rs"]
mod namespaces;
#[path = "cli/observe.rs"]
mod observe;
#[path = "cli/ordinary.rs"]
mod ordinary;
#[path = "cli/outcome.rs"]
mod outcome;
#[path = "cli/overview.rs"]
mod overview;
#[path = "cli/partly_tracked.rs"]
mod partly_tracked;
#[path = "cli/place.rs"]
mod place;
#[path = "cli/progress.rs"]
mod progress;
#[path = "cli/pull_request.rs"]
mod pull_request;
#[path = "cli/readme.rs"]
mod readme;
#[cfg(feature = "remote")]
#[path = "cli/remote.rs"]
mod remote;
#[cfg(feature = "remote")]
#[path = "cli/remote_create.rs"]
mod remote_create;
#[cfg(feature = "remote")]
#[path = "cli/remote_killed.rs"]
mod remote_killed;
#[cfg(feature = "remote")]
#[path = "cli/remote_lazy.rs"]
mod remote_lazy;
#[cfg(feature = "remote")]
#[path = "cli/remote_network.rs"]
mod remote_network;
#[cfg(feature = "remote")]
#[path = "cli/remote_s3.rs"]
mod remote_s3;
#[path = "cli/remove.rs"]
mod remove;
#[path = "cli/shells.rs"]
mod shells;
#[path = "full/small.rs"]
mod small;
#[path = "cli/source.rs"]
mod source;
#[path = "cli/submodules.rs"]
mod submodules;
#[path = "cli/sync.rs"]
mod sync;
#[path = "cli/top.rs"]
mod top;
#[path = "cli/topics.rs"]
mod topics;
#[path = "cli/traces.rs"]
mod traces;
#[path = "cli/undo.rs"]
mod undo;
#[path = "cli/web.rs"]
mod web;
#[cfg(feature = "remote")]
#[path = "cli/web_remote.rs"]
mod web_remote;
#[path = "cli/whole.rs"]
mod whole;
