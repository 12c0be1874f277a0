//! The `depsfs` program: the command line, and the two processes of a daemon that it starts from itself.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match args.first().and_then(|a| a.to_str()) {
        Some(depsfs::daemon::KEEPER_VERB) => depsfs::daemon::keeper::main(&args[1..]),
        Some("server") => depsfs::daemon::server::main(&args[1..]),
        _ => ExitCode::from(depsfs::cli::run()),
    }
}
