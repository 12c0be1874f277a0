//! The connections of a fetcher's clients: lines, many requests on each, answered in any order.
//!
//! | request                      | answers                                                                    |
//! |------------------------------|----------------------------------------------------------------------------|
//! | `need <n> <object>`          | `here <n>`, or `absent <n> <reason>`; before it, `wait <n> <milliseconds>`: within this time |
//! | `complete <n> <tree>`        | some `progress <n> <bytes here> <bytes of all>`, then `here` or `absent`    |

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::work::{Asker, Request};
use crate::store::{ObjectId, TreeId};
use crate::sys::log::OrWarn;

/// The longest line of a request.
const LONGEST_LINE: u64 = 256;
/// A client that takes no answer for as long is left.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchRequest {
    Need(u64, ObjectId),
    Complete(u64, TreeId),
}

impl FetchRequest {
    /// Reads a line.
    pub fn parse(line: &str) -> Option<FetchRequest> {
        let mut words = line.trim_end_matches('\n').split(' ');
        let (verb, number, id) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
        match (verb, words.next()) {
            ("need", None) => Some(FetchRequest::Need(number, id.parse().ok()?)),
            ("complete", None) => Some(FetchRequest::Complete(number, id.parse().ok()?)),
            _ => None,
        }
    }
}

/// The side of a connection that answers are written to.
pub struct AnswerWriter(Mutex<Option<UnixStream>>);

impl Asker for AnswerWriter {
    fn tell(&self, line: &str) {
        let mut stream = self.0.lock();
        let written = stream.as_mut().map(|stream| stream.write_all(format!("{line}\n").as_bytes()));
        if matches!(written, Some(Err(_))) {
            // Half a line may have been written: nothing can follow it.
            *stream = None;
        }
    }
}

/// The line of an answer.
pub fn answer(request: &Request, outcome: &Result<(), String>) {
    request.of.tell(&match outcome {
        Ok(()) => format!("here {}", request.number),
        Err(why) => format!("absent {} {}", request.number, why.replace('\n', " ")),
    });
}

/// Reports how long a request waits at most.
pub fn announce(request: &Request, wait: Duration) {
    request.of.tell(&format!("wait {} {}", request.number, wait.as_millis()));
}

/// Reads the requests of a client until it leaves. One that is none ends the connection.
///
/// # Errors
/// The connection cannot be set up.
pub fn serve(stream: UnixStream, mut take: impl FnMut(FetchRequest, Arc<dyn Asker>)) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    let answers = stream.try_clone()?;
    answers.set_write_timeout(Some(PATIENCE))?;
    let asker: Arc<dyn Asker> = Arc::new(AnswerWriter(Mutex::new(Some(answers))));
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        let read = io::Read::take(&mut reader, LONGEST_LINE).read_line(&mut line)?;
        match FetchRequest::parse(&line).filter(|_| line.ends_with('\n')) {
            Some(request) => take(request, asker.clone()),
            None if read == 0 => return Ok(()),
            None => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// As [`serve`], in a thread of its own.
pub fn serve_apart(stream: UnixStream, take: impl FnMut(FetchRequest, Arc<dyn Asker>) + Send + 'static) {
    let serve = move || serve(stream, take).or_debug("a client of the fetcher left").unwrap_or(());
    std::thread::Builder::new().name("client".into()).spawn(serve).or_warn("a client of the fetcher is refused");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_request_or_none() {
        let id = "0a".repeat(32);
        assert_eq!(FetchRequest::parse(&format!("need 7 {id}\n")), Some(FetchRequest::Need(7, ObjectId([10; 32]))));
        assert_eq!(
            FetchRequest::parse(&format!("complete 1 {id}\n")),
            Some(FetchRequest::Complete(1, TreeId([10; 32])))
        );
        for bad in ["", "need", "need 7", "need x 00", "need 7 00\n", "give 7 00\n"] {
            assert_eq!(FetchRequest::parse(bad), None, "{bad}");
        }
        assert_eq!(FetchRequest::parse(&format!("need 7 {id} more\n")), None);
    }
}
