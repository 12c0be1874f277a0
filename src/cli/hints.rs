//! Hints for errors of the kernel and of a view. No hint costs data: none names a command that deletes.

use std::io::{self, ErrorKind};

use crate::overlay;
use crate::overlay::journal::JournalError;

/// The hint for a kernel error that concerns a path, or a limit of this process.
pub fn io(e: &io::Error) -> String {
    match e.kind() {
        ErrorKind::StorageFull => "free space on that file system, then run it again",
        ErrorKind::QuotaExceeded => "free space below your quota there, then run it again",
        ErrorKind::ReadOnlyFilesystem => {
            "that file system is mounted read-only: mount it to write, or use another place"
        }
        ErrorKind::PermissionDenied => {
            "look at the owner and the permissions of that path, and of the directories above it"
        }
        ErrorKind::NotFound => "look whether that path is still there",
        ErrorKind::AlreadyExists => "another program made a file of that name meanwhile: look at it, then run it again",
        ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            "that path is a file where a directory was expected, or the reverse: look at it"
        }
        ErrorKind::ResourceBusy => "end the program that uses that path, then run it again",
        ErrorKind::OutOfMemory => "free memory, then run it again",
        ErrorKind::NotConnected => "a view there has lost its daemon: depsfs mount, or depsfs doctor --fix",
        ErrorKind::StaleNetworkFileHandle => "mount that network file system anew",
        _ => match e.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => "raise the limit of open files (ulimit -n), then run it again",
            Some(libc::EAGAIN) => {
                "raise the limit of processes (ulimit -u, or the container's pids limit), then run it again"
            }
            Some(libc::EIO) => "depsfs doctor checks the store; the kernel's log (dmesg) names a failing disk",
            _ => "depsfs doctor checks the store and the views; look at that path, too",
        },
    }
    .into()
}

/// The hint for a name that `depsfs help` does not have.
pub fn help(similar: Option<&str>) -> String {
    match similar {
        Some(similar) => format!("depsfs help {similar} is similar; depsfs help lists them"),
        None => "depsfs help lists them".into(),
    }
}

/// The hint for a standard output that cannot be written.
pub fn output(e: &io::Error) -> String {
    match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free space on the file system of the output file",
        _ => "look at the file or pipe that standard output is redirected to",
    }
    .into()
}

/// The hint for an operation that a view refuses.
pub fn overlay(e: &overlay::OverlayError) -> String {
    use overlay::OverlayError as Error;
    match e {
        Error::Upper { source, .. } => io(source),
        Error::LostObject { .. } | Error::LostTree(_) => {
            "depsfs doctor --fix reads the checkouts again; a new create or store add from a good copy restores it"
                .into()
        }
        Error::AbsentObject(_) => "depsfs remote check shows whether the remote answers; then run it again".into(),
        Error::Journal(JournalError::Io(e)) => io(&e.source),
        Error::Journal(JournalError::NotAJournal { .. }) => {
            "keep a copy of that file; depsfs doctor checks the views".into()
        }
        Error::Journal(JournalError::TooLong) => "do it in several steps: fewer paths at once".into(),
        Error::Journal(JournalError::Version { .. }) => "use the depsfs that wrote it".into(),
        Error::NotFound => "depsfs diff lists the changes in this view".into(),
        Error::Exists
        | Error::NotDirectory
        | Error::IsDirectory
        | Error::NotEmpty
        | Error::UnknownInode(_)
        | Error::NoXattr
        | Error::XattrExists
        | Error::Invalid
        | Error::NotSupported
        | Error::NotPermitted
        | Error::NoData
        | Error::Kept => "the view was changed meanwhile: depsfs diff shows the changes; run it again".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_hint_names_a_command_that_drops_what_a_user_wrote() {
        let upper = |errno| overlay::OverlayError::Upper { verb: "write", source: io::Error::from_raw_os_error(errno) };
        let errnos = [libc::ENOSPC, libc::EDQUOT, libc::EIO, libc::EACCES, libc::EROFS, libc::EMFILE, libc::EPERM];
        let mut hints: Vec<String> = errnos.iter().map(|errno| overlay(&upper(*errno))).collect();
        hints.extend([overlay::OverlayError::Kept, overlay::OverlayError::NotFound].iter().map(overlay));
        for hint in hints {
            assert!(!hint.contains("reset") && !hint.contains("rm ") && !hint.contains("delete"), "{hint}");
        }
        assert!(overlay(&upper(libc::ENOSPC)).contains("free space"));
    }
}
