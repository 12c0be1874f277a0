//! The `depsfs` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match args.first().and_then(|a| a.to_str()) {
        Some("keeper") => depsfs::daemon::keeper::main(&args[1..]),
        Some("server") => depsfs::daemon::server::main(&args[1..]),
        _ => ExitCode::from(2),
    }
}
