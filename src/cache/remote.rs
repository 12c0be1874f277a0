//! The remote, which has artifacts that are not on this machine: one, chosen by the settings, reached through the
//! user's own `curl`, `aws` or `ssh`, with their proxies, certificates and keys.
//!
//! | remote      | its setting                 | download                             | upload               |
//! |-------------|-----------------------------|--------------------------------------|----------------------|
//! | a server    | the start of a URL          | `GET $URL/<path>/<name>`             | none                 |
//! | a bucket    | the first words for `aws`   | `aws $WORDS s3 cp <bucket>/<name> -` | `aws $WORDS s3 cp`   |
//! | over `ssh`  | a host                      | `ssh $HOST curl <url>/<name>`        | `aws s3 cp` there    |
//! | an endpoint | the start of a URL          | `GET $URL/<name>`                    | none                 |
//!
//! The variables that hold these settings, the paths and the buckets are configuration ([`RemoteRule`]).
//!
//! The first that is set is the one. A URL may hold a password: `curl` reads it from stdin, where no other user sees
//! it, and only [`Remote::place`] of it is stored and printed. Nothing in a URL is expanded (`globoff`), and nothing is
//! an option.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::local::PartialArtifact;
use super::program::{self, Input, ProgramEnd};
use super::{ArtifactName, CacheError, Environment, RemoteRule};
use crate::store::Progress;
use crate::store::import::archive::LONGEST_FILE;
use crate::sys::log::OrWarn;
use crate::sys::{fs, path as paths, reason, url};

/// The source of downloads and the target of uploads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    Http { start: String },
    Aws { params: Vec<String>, bucket: String },
    Ssh { host: String, start: String, bucket: String },
}

/// How a download ended without the whole file.
#[derive(Debug)]
pub enum Missed {
    /// The remote reports that it has no such artifact.
    Absent,
    /// In words; `again`: another attempt may go better.
    Broken {
        words: String,
        again: bool,
    },
    Failed(CacheError),
}

impl Remote {
    /// The remote that is set; `None` if none is.
    ///
    /// # Errors
    /// [`CacheError::Host`] for a host that `ssh` would take for an option.
    pub fn of(env: &Environment) -> Result<Option<Remote>, CacheError> {
        let trimmed = |url: &str| url.trim_end_matches('/').to_owned();
        let endpoint = || env.endpoint.as_deref().map(trimmed);
        let Some((rule, value)) = env.remotes.first() else {
            return Ok(endpoint().map(|start| Remote::Http { start }));
        };
        Ok(Some(match rule {
            RemoteRule::Curl { path, .. } => Remote::Http { start: format!("{}/{path}", trimmed(value)) },
            RemoteRule::Aws { bucket, .. } => Remote::Aws { params: words(value), bucket: bucket.clone() },
            RemoteRule::Ssh { variable, .. } if value.starts_with('-') => {
                return Err(CacheError::Host { variable: variable.clone(), host: value.clone() });
            }
            RemoteRule::Ssh { bucket, url, .. } => Remote::Ssh {
                host: value.clone(),
                start: endpoint().unwrap_or_else(|| url.clone()),
                bucket: bucket.clone(),
            },
        }))
    }

    /// The address of an artifact at the remote, for display: without secrets.
    pub fn place(&self, name: &ArtifactName) -> String {
        match self {
            Remote::Http { start } | Remote::Ssh { start, .. } => format!("{}/{name}", url::public(start)),
            Remote::Aws { bucket, .. } => in_bucket(bucket, name),
        }
    }

    /// Writes the artifact to `to`, from its start.
    pub fn download(&self, name: &ArtifactName, to: &PartialArtifact, progress: &dyn Progress) -> Result<(), Missed> {
        let headers = to.path().with_extension("headers");
        let done = self.download_with(name, to.file(), &headers, progress);
        // Absent if no HTTP server was queried, or none replied.
        paths::remove_file(&headers).or_warn("the headers of a download stay");
        done
    }

    fn download_with(
        &self,
        name: &ArtifactName,
        to: &OwnedFd,
        headers: &Path,
        progress: &dyn Progress,
    ) -> Result<(), Missed> {
        let (program, args, input) = match self {
            Remote::Http { start } => ("curl", curl(["-D".into(), headers.into()]), asking(start, name)),
            Remote::Aws { params, bucket } => ("aws", aws(params, ["cp", &in_bucket(bucket, name), "-"]), Input::Empty),
            Remote::Ssh { host, start, .. } => ("ssh", ssh(host, "curl -sSfL -K -"), asking(start, name)),
        };
        let (mut begun, mut room) = (false, Room(LONGEST_FILE));
        let ended = program::run(program, &args, input, &mut |piece| {
            room.take(piece)?;
            if !std::mem::replace(&mut begun, true) {
                progress.begin("downloading", length(headers));
            }
            if progress.is_cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            progress.advance(piece.len() as u64);
            fs::write_all(to, piece)
        });
        let ended = match ended {
            Ok(ended) => ended,
            Err(e) => return Err(not_run(program, e)),
        };
        if ended.is_success() { Ok(()) } else { Err(self.missed(&ended, status(headers))) }
    }

    /// Whether the remote has it; `false` also if it can't be queried.
    pub fn has(&self, name: &ArtifactName) -> Result<bool, CacheError> {
        let (mut out, mut room) = (Vec::new(), Room(1 << 20));
        let mut take = |piece: &[u8]| {
            room.take(piece)?;
            out.extend_from_slice(piece);
            Ok(())
        };
        let ended = match self {
            Remote::Http { start } => {
                let head = ["-I", "-o", "/dev/null", "-w", "%{http_code}"].map(OsString::from);
                program::run("curl", &curl(head), asking(start, name), &mut take)
            }
            Remote::Aws { params, bucket } => {
                program::run("aws", &aws(params, ["ls", &in_bucket(bucket, name)]), Input::Empty, &mut take)
            }
            Remote::Ssh { host, start, .. } => {
                let head = ssh(host, "curl -sSfLI -o /dev/null -K -");
                program::run("ssh", &head, asking(start, name), &mut take)
            }
        };
        let is_success = match ended {
            Ok(ended) => ended.is_success(),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Err(CacheError::Interrupted),
            Err(_) => false,
        };
        let said = String::from_utf8_lossy(&out);
        Ok(match self {
            // Some servers don't implement HEAD.
            Remote::Http { start } if matches!(said.trim(), "405" | "501") => has_first_byte(start, name),
            // `ls` also lists names that only begin so.
            Remote::Aws { .. } => {
                is_success && said.lines().any(|l| l.split_whitespace().last() == Some(name.as_str()))
            }
            _ => is_success,
        })
    }

    /// Whether artifacts can be saved there.
    pub fn takes_uploads(&self) -> bool {
        matches!(self, Remote::Aws { .. } | Remote::Ssh { .. })
    }

    /// Saves the file at `path`, open as `file` at its start.
    pub fn upload(&self, name: &ArtifactName, path: &Path, file: OwnedFd) -> Result<(), CacheError> {
        let (program, args, input) = match self {
            Remote::Http { .. } => return Ok(()),
            Remote::Aws { params, bucket } => {
                let mut args = aws(params, ["cp"]);
                args.extend([path.into(), in_bucket(bucket, name).into()]);
                ("aws", args, Input::Empty)
            }
            Remote::Ssh { host, bucket, .. } => {
                let there = format!("aws s3 cp - {}", quoted(&in_bucket(bucket, name)));
                ("ssh", ssh(host, &there), Input::File(file))
            }
        };
        let ended = program::run(program, &args, input, &mut |_| Ok(()));
        let failed = |words: String| CacheError::Upload { program, words: url::without_userinfo(&words) };
        match ended {
            Ok(ended) if ended.is_success() => Ok(()),
            Ok(ended) => Err(failed(ended.words())),
            Err(e) => Err(interrupted(e).unwrap_or_else(|| failed("it cannot be run".into()))),
        }
    }

    /// The reason of a failed download, from the end of its program.
    fn missed(&self, ended: &ProgramEnd, status: Option<u16>) -> Missed {
        let words = url::without_userinfo(&ended.words());
        let broken = |again| Missed::Broken { words: words.clone(), again };
        match (self, ended.code) {
            // `-f`: the server answered, with an error.
            (Remote::Http { .. } | Remote::Ssh { .. }, Some(22)) => match status.or_else(|| status_in(&words)) {
                Some(408 | 425 | 429 | 500..) => broken(true),
                _ => Missed::Absent,
            },
            // curl(1), EXIT CODES: a URL or a host that isn't one, a certificate that isn't trusted.
            (Remote::Http { .. }, Some(1..=6 | 35 | 51 | 58..=60 | 77)) => broken(false),
            (Remote::Aws { .. }, _) if ["404", "NoSuchKey", "does not exist"].iter().any(|w| words.contains(w)) => {
                Missed::Absent
            }
            _ => broken(true),
        }
    }
}

/// How many more bytes a remote may send: some send for ever.
struct Room(u64);

impl Room {
    fn take(&mut self, piece: &[u8]) -> io::Result<()> {
        self.0 = self.0.checked_sub(piece.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(())
    }
}

fn interrupted(e: io::Error) -> Option<CacheError> {
    (e.kind() == io::ErrorKind::Interrupted).then_some(CacheError::Interrupted)
}

fn not_run(program: &str, e: io::Error) -> Missed {
    match e.kind() {
        io::ErrorKind::Interrupted => Missed::Failed(CacheError::Interrupted),
        io::ErrorKind::NotFound => Missed::Broken { words: format!("{program} is not installed"), again: false },
        io::ErrorKind::FileTooLarge => {
            Missed::Broken { words: "the remote sends more bytes than an artifact may have".into(), again: false }
        }
        _ => Missed::Broken { words: format!("{program}: {}", reason(&e)), again: false },
    }
}

/// Requests the file, and closes the connection at its first byte.
fn has_first_byte(start: &str, name: &ArtifactName) -> bool {
    let mut came = false;
    let mut take = |_: &[u8]| {
        came = true;
        Err(io::ErrorKind::BrokenPipe.into())
    };
    let ended = program::run("curl", &curl([]), asking(start, name), &mut take);
    came || ended.is_ok_and(|e| e.is_success())
}

fn in_bucket(bucket: &str, name: &ArtifactName) -> String {
    format!("{bucket}/{name}")
}

/// The input of `curl -K -`: the URL, of which nothing is expanded (curl(1), --config).
fn asking(start: &str, name: &ArtifactName) -> Input {
    let mut config = String::from("globoff\nurl = \"");
    for c in format!("{start}/{}", url::segment(name.as_str())).chars() {
        match c {
            '"' | '\\' => config.extend(['\\', c]),
            '\n' => config.push_str("\\n"),
            '\r' => config.push_str("\\r"),
            c => config.push(c),
        }
    }
    Input::Text(config + "\"\n")
}

/// Quiet but for errors, which are exit codes; curl gives up a server that sends nothing for a minute.
fn curl(more: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let limits = ["-sSfL", "--connect-timeout", "15", "--speed-limit", "1", "--speed-time", "60", "-K", "-"];
    limits.map(OsString::from).into_iter().chain(more).collect()
}

fn aws<'a>(params: &'a [String], verb: impl IntoIterator<Item = &'a str>) -> Vec<OsString> {
    params.iter().map(String::as_str).chain(["s3"]).chain(verb).map(OsString::from).collect()
}

fn ssh(host: &str, there: &str) -> Vec<OsString> {
    [host, there].map(OsString::from).into()
}

/// As a shell splits words that are not quoted.
fn words(text: &str) -> Vec<String> {
    text.split([' ', '\t', '\n']).filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

/// One word for the shell of the far side.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The last answer's headers (there are several after a redirection).
fn last_headers(path: &Path) -> Option<String> {
    let text = String::from_utf8_lossy(&paths::read_if_there(path).ok()??).into_owned();
    let start = text.rfind("HTTP/")?;
    Some(text[start..].to_owned())
}

fn status(headers: &Path) -> Option<u16> {
    last_headers(headers)?.split_whitespace().nth(1)?.parse().ok()
}

fn length(headers: &Path) -> Option<u64> {
    let headers = last_headers(headers)?;
    let fields = headers.lines().filter_map(|l| l.split_once(':'));
    fields.filter(|(k, _)| k.eq_ignore_ascii_case("content-length")).find_map(|(_, v)| v.trim().parse().ok())
}

/// curl: `The requested URL returned error: 503`.
fn status_in(words: &str) -> Option<u16> {
    words.rsplit_once("error: ")?.1.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;

    const BUCKET: &str = "s3://bucket/dir";

    fn rule(program: &str) -> RemoteRule {
        let variable = || String::from("VARIABLE");
        match program {
            "curl" => RemoteRule::Curl { variable: variable(), path: "artifacts".into() },
            "aws" => RemoteRule::Aws { variable: variable(), bucket: BUCKET.into() },
            _ => RemoteRule::Ssh { variable: variable(), bucket: BUCKET.into(), url: "https://bucket/dir".into() },
        }
    }

    fn of(set: &[(&str, &str)], endpoint: Option<&'static str>) -> Result<Option<Remote>, CacheError> {
        let remotes = set.iter().map(|(program, value)| (rule(program), (*value).to_owned())).collect();
        let endpoint = LazyLock::new(Box::new(move || endpoint.map(str::to_owned)) as Box<_>);
        Remote::of(&Environment { remotes, endpoint, ..Environment::default() })
    }

    #[test]
    fn the_first_remote_that_is_set_is_the_one() {
        let name = ArtifactName::new("a-01.zst").expect("fit");
        let place = |set: &[(&str, &str)], endpoint| {
            of(set, endpoint).expect("a host").map(|r| r.place(&name)).unwrap_or_default()
        };
        let endpoint = Some("https://cache.example/x/");
        assert_eq!(place(&[], None), "");
        assert_eq!(place(&[], endpoint), "https://cache.example/x/a-01.zst");
        assert_eq!(place(&[("ssh", "far")], endpoint), "https://cache.example/x/a-01.zst");
        assert_eq!(place(&[("ssh", "far")], None), "https://bucket/dir/a-01.zst");
        assert_eq!(place(&[("aws", "x"), ("ssh", "far")], endpoint), "s3://bucket/dir/a-01.zst");
        assert_eq!(place(&[("curl", "http://h:1/"), ("aws", "x")], endpoint), "http://h:1/artifacts/a-01.zst");
        assert_eq!(place(&[("curl", "https://u:s3cr3t@h/x?token=s3cr3t")], None), "https://h/x/a-01.zst");
        let params = ["--a", "b", "c"].map(String::from).into();
        let aws = of(&[("aws", " --a  b\tc\n")], None).expect("no host");
        assert_eq!(aws, Some(Remote::Aws { params, bucket: BUCKET.into() }));
        let option = of(&[("ssh", "-oProxyCommand=id")], None);
        assert!(matches!(option, Err(CacheError::Host { .. })));
    }

    #[test]
    fn a_remote_that_sends_for_ever_is_given_up() {
        let mut room = Room(10);
        assert!(room.take(&[0; 10]).is_ok() && room.take(&[]).is_ok());
        let e = room.take(&[0]).expect_err("no room");
        let Missed::Broken { words, again: false } = not_run("curl", e) else { panic!("it would be tried again") };
        assert_eq!(words, "the remote sends more bytes than an artifact may have");
    }

    #[test]
    fn the_headers_that_count_are_the_last_answers() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("h");
        let text = "HTTP/1.1 302 Found\r\nContent-Length: 7\r\n\r\nHTTP/2 503 \r\ncontent-length: 12\r\n\r\n";
        paths::replace(&file, text.as_bytes()).expect("written");
        assert_eq!((status(&file), length(&file)), (Some(503), Some(12)));
        assert_eq!(status(&dir.path().join("none")), None);
        assert_eq!(status_in("curl: (22) The requested URL returned error: 404"), Some(404));
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
