//! The log of this process: lines on stderr, filtered by `DEPSFS_LOG`.
//!
//! The filter has the syntax of tracing's `EnvFilter`: a level (`error`, `warn`, `info`, `debug`, `trace`, `off`), or
//! directives for modules and spans, separated by commas: `warn,depsfs::fuse=debug`.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;

/// The variable that holds the filter.
pub const VARIABLE: &str = "DEPSFS_LOG";

/// A full disk must not end a daemon: tracing reports a failed write on stderr, and panics if that fails as well.
struct Log(io::Stderr);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // There is no other place to report it to.
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins the log of this process. Without the variable, or with one that is no filter, `default` holds; a later call
/// changes nothing.
pub fn begin(default: &str) {
    let set = std::env::var(VARIABLE).ok().filter(|set| !set.trim().is_empty());
    let parsed = set.as_deref().map(EnvFilter::try_new);
    let wrong = parsed.as_ref().and_then(|parsed| parsed.as_ref().err().map(|e| e.to_string()));
    // A wrong filter has to be reported, also by a command, which logs nothing without one.
    let default = if wrong.is_some() && default == "off" { "warn" } else { default };
    let filter = parsed.and_then(Result::ok).unwrap_or_else(|| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_writer(|| Log(io::stderr())).with_ansi(false).with_env_filter(filter);
    if log.try_init().is_ok()
        && let Some(why) = wrong
    {
        tracing::warn!("{VARIABLE} is no filter, and {default} holds: {why}");
    }
}

/// For a result whose error changes nothing: the work goes on, and the error is logged.
pub trait OrWarn<T> {
    /// The value; an error is a warning that begins with `so`, the consequence.
    fn or_warn(self, so: &str) -> Option<T>;

    /// As [`OrWarn::or_warn`], for an error that is expected: a debug message.
    fn or_debug(self, so: &str) -> Option<T>;
}

impl<T, E: std::fmt::Display> OrWarn<T> for Result<T, E> {
    fn or_warn(self, so: &str) -> Option<T> {
        self.inspect_err(|e| tracing::warn!("{so}: {e}")).ok()
    }

    fn or_debug(self, so: &str) -> Option<T> {
        self.inspect_err(|e| tracing::debug!("{so}: {e}")).ok()
    }
}

/// The name of an error number, as in `ENOENT`; `OK` for 0.
pub fn errno_name(code: i32) -> String {
    match code {
        0 => "OK".into(),
        code => format!("{:?}", nix::errno::Errno::from_raw(code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_number_is_logged_by_its_name() {
        assert_eq!([0, libc::ENOENT, libc::ENOSPC, libc::ESTALE].map(errno_name), ["OK", "ENOENT", "ENOSPC", "ESTALE"]);
    }
}
