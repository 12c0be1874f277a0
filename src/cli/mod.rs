//! The `depsfs` command: one file per verb, whose doc comment is its help.
//!
//! [`run`] parses, dispatches and turns what went wrong into words and an exit code ([`report`]). The two processes
//! of a daemon, `depsfs keeper` and `depsfs server`, are no verbs: `main` starts them.

mod adopt;
mod answers;
mod approve;
mod bars;
mod cache;
mod candidates;
mod cd;
mod color;
mod complete;
mod completions;
mod components;
mod confirm;
mod create;
mod created;
mod diff;
mod doctor;
mod du;
mod embedded;
mod exec;
mod failure;
mod fetch;
mod fetcher;
mod gc;
mod global;
mod help;
mod hints;
mod hook;
mod hung;
mod init;
mod json_schema;
mod list;
mod log;
mod make_options;
mod man;
mod mount;
mod mount_all;
mod mount_options;
mod named;
mod output;
mod overview;
mod path;
mod places;
mod progress;
mod publish;
mod pull_request;
mod push;
mod record;
mod remedies;
mod remote;
mod remove;
mod report;
mod reset;
mod service;
mod shell_init;
mod stats;
mod status;
mod store;
mod sync;
mod thaw;
mod top;
mod topics;
mod units;
mod unmount;
mod usage;
mod view_option;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::sys::log as process_log;
use crate::sys::terminal::DisplayName;

use report::Failure;

/// Gives git worktrees their artifact directories at once
///
/// Each ignored directory of a built checkout (node_modules, target, build, …) becomes a view in a new worktree:
/// complete, private, costing no disk. The store is $DEPSFS_STORE, else $XDG_DATA_HOME/depsfs/store, else
/// ~/.local/share/depsfs/store.
///
/// DEPSFS_LOG=debug logs what a command does on stderr, and what a daemon started by it does in its log
/// (depsfs help troubleshooting).
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused and nothing changed, 130 ended by Ctrl-C.
#[derive(Parser)]
#[command(name = "depsfs", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_long_help = help::topic_list())]
pub struct Cli {
    /// Print the answer as JSON, and errors on stderr too: an object with the field schema (depsfs help json)
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    options: global::GlobalOptions,
}

#[derive(Subcommand)]
enum Verb {
    Create(create::Create),
    Pr(pull_request::PullRequestCommand),
    Adopt(adopt::Adopt),
    List(list::List),
    Status(status::Status),
    Path(path::PathCommand),
    Log(log::LogCommand),
    Du(du::Du),
    Cd(cd::Cd),
    Top(top::Top),
    Exec(exec::Exec),
    Shell(exec::ShellCommand),
    Diff(diff::Diff),
    Thaw(thaw::Thaw),
    Reset(reset::Reset),
    Remove(remove::Remove),
    Mount(mount::Mount),
    Unmount(unmount::Unmount),
    Cache(cache::CacheCommand),
    Gc(gc::Gc),
    Store(store::StoreCommand),
    Doctor(doctor::Doctor),
    Service(service::Service),
    Hook(hook::Hook),
    Sync(sync::SyncCommand),
    Publish(publish::Publish),
    Push(push::Push),
    Fetch(fetch::FetchCommand),
    Remote(remote::RemoteCommand),
    Init(init::Init),
    Approve(approve::Approve),
    JsonSchema(json_schema::JsonSchemaCommand),
    ShellInit(shell_init::ShellInit),
    Completions(completions::Completions),
    Help(help::Help),
    #[command(hide = true)]
    Fetcher(fetcher::FetcherCommand),
    #[command(hide = true)]
    Complete(complete::Complete),
    #[command(hide = true)]
    Man(man::Man),
}

/// Runs the program with the arguments of this process; answers its exit code.
pub fn run() -> u8 {
    let command = Cli::command().color(color::in_arguments(std::env::args_os()));
    let parsed = command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let Cli { json, verb, options } = match parsed {
        Ok(cli) => cli,
        Err(wrong) => return usage::report(&wrong),
    };
    if json {
        output::use_json();
    }
    let what = verb.failing();
    let is_cache = matches!(verb, Verb::Cache(_));
    let may_hang = verb.looks_here();
    if matches!(verb, Verb::Fetcher(_)) {
        // As a daemon's: the first call counts.
        process_log::begin("info");
    }
    let result =
        options.apply().and_then(|()| if may_hang { hung::refuse() } else { Ok(()) }).and_then(|()| verb.run());
    let because = result.as_ref().err().map(ToString::to_string);
    let code = match result {
        Ok(()) => 0,
        Err(Failure::Missed) if !output::is_json() => 1,
        Err(Failure::Exited(code)) => code,
        Err(Failure::ViewsMissing) => 1,
        Err(Failure::Declined) => {
            output::note("nothing was changed");
            0
        }
        // A script that asks the cache builds whenever the answer isn't yes.
        Err(failure) if is_cache && report::interrupted().is_none() => report::print(&what, &failure).min(1),
        Err(failure) => report::print(&what, &failure),
    };
    record::end(code, because);
    code
}

impl Verb {
    fn run(self) -> Result<(), Failure> {
        match self {
            Verb::Create(v) => v.run(),
            Verb::Pr(v) => v.run(),
            Verb::Adopt(v) => v.run(),
            Verb::List(v) => v.run(),
            Verb::Status(v) => v.run(),
            Verb::Path(v) => v.run(),
            Verb::Log(v) => v.run(),
            Verb::Du(v) => v.run(),
            Verb::Cd(v) => v.run(),
            Verb::Top(v) => v.run(),
            Verb::Exec(v) => v.run(),
            Verb::Shell(v) => v.run(),
            Verb::Diff(v) => v.run(),
            Verb::Thaw(v) => v.run(),
            Verb::Reset(v) => v.run(),
            Verb::Remove(v) => v.run(),
            Verb::Mount(v) => v.run(),
            Verb::Unmount(v) => v.run(),
            Verb::Cache(v) => v.run(),
            Verb::Gc(v) => v.run(),
            Verb::Store(v) => v.run(),
            Verb::Doctor(v) => v.run(),
            Verb::Service(v) => v.run(),
            Verb::Hook(v) => v.run(),
            Verb::Sync(v) => v.run(),
            Verb::Publish(v) => v.run(),
            Verb::Push(v) => v.run(),
            Verb::Fetch(v) => v.run(),
            Verb::Remote(v) => v.run(),
            Verb::Init(v) => v.run(),
            Verb::Approve(v) => v.run(),
            Verb::JsonSchema(v) => v.run(),
            Verb::ShellInit(v) => v.run(),
            Verb::Fetcher(v) => v.run(),
            Verb::Complete(v) => v.run(),
            Verb::Completions(v) => v.run(),
            Verb::Help(v) => v.run(),
            Verb::Man(v) => v.run(),
        }
    }

    /// Whether it looks at the working directory. A status does so by itself.
    fn looks_here(&self) -> bool {
        let looks_nowhere = matches!(
            self,
            Verb::Status(_)
                | Verb::Fetcher(_)
                | Verb::JsonSchema(_)
                | Verb::ShellInit(_)
                | Verb::Complete(_)
                | Verb::Completions(_)
                | Verb::Help(_)
                | Verb::Man(_)
        );
        !looks_nowhere
    }

    /// The first words of the message if it fails.
    fn failing(&self) -> String {
        match self {
            Verb::Create(v) => format!("{} was not created", v.name()),
            Verb::Pr(v) => format!("{} was not created", v.name()),
            Verb::Adopt(v) => format!("{} was not adopted", v.place().shown()),
            Verb::Top(_) => "the activity cannot be shown".into(),
            Verb::Du(_) => "the disk space cannot be shown".into(),
            Verb::Log(_) => "the log cannot be shown".into(),
            Verb::List(_) => "the worktrees cannot be listed".into(),
            Verb::Status(_) => "the status cannot be shown".into(),
            Verb::Cd(_) => "the directory was not changed".into(),
            Verb::Path(_) => "the path cannot be printed".into(),
            Verb::Exec(_) | Verb::Shell(_) => "the command was not started".into(),
            Verb::Diff(_) => "the differences cannot be shown".into(),
            Verb::Thaw(_) => "not everything was thawed".into(),
            Verb::Reset(_) => "not everything was reset".into(),
            Verb::Remove(v) => format!("{} was not removed", v.name()),
            Verb::Mount(_) => "not everything is mounted".into(),
            Verb::Unmount(_) => "not everything is unmounted".into(),
            Verb::Cache(v) => v.failing(),
            Verb::Gc(_) => "the store was not cleaned up".into(),
            Verb::Store(v) => v.failing(),
            Verb::Doctor(_) => "the checks found problems".into(),
            Verb::Service(v) => v.failing(),
            Verb::Hook(v) => v.failing(),
            Verb::Sync(_) => "not everything is up to date".into(),
            Verb::Publish(v) => v.failing(),
            Verb::Push(_) => "not everything was pushed".into(),
            Verb::Fetch(_) => "not everything was fetched".into(),
            Verb::Fetcher(_) => "contents are not fetched".into(),
            Verb::Remote(v) => v.failing(),
            Verb::Init(_) => "no depsfs.toml was written".into(),
            Verb::Approve(_) => "nothing was approved".into(),
            Verb::ShellInit(_)
            | Verb::Complete(_)
            | Verb::Completions(_)
            | Verb::Help(_)
            | Verb::JsonSchema(_)
            | Verb::Man(_) => "the text was not written".into(),
        }
    }
}
