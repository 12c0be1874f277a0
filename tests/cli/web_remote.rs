//! A web server with the objects of a remote that is a directory: as a CDN, and as one that fails in some way.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    Right,
    /// Right ones, after so many milliseconds.
    Late(u64),
    Status(u16),
    /// Half of each.
    Cut,
    /// With a byte that is another one.
    Changed,
    /// Not at all; the connection stays.
    Silent,
}

/// Cloning gives the same server. It ends with the test program.
#[derive(Clone)]
pub struct WebRemote {
    pub url: String,
    root: PathBuf,
    answers: Arc<Mutex<Answers>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl WebRemote {
    /// Of this directory.
    pub fn start(root: PathBuf) -> WebRemote {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        let web = WebRemote { url, root, answers: Arc::new(Mutex::new(Answers::Right)), requests: Arc::default() };
        let shared = web.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let web = shared.clone();
                // One whose client left meanwhile needs no answer.
                std::thread::spawn(move || drop(web.serve(stream.unwrap())));
            }
        });
        web
    }

    pub fn answer(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
    }

    /// The paths that were requested since the last call.
    pub fn requested(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let mut range = None;
        for line in lines {
            let line = line?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some((from, to)) = line.strip_prefix("range: bytes=").and_then(|range| range.split_once('-')) {
                range = Some((from.parse::<usize>().unwrap(), to.parse::<usize>().unwrap()));
            }
        }
        let path = first.strip_prefix("GET /x/").and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned();
        self.requests.lock().unwrap().push(path.clone());
        let answers = *self.answers.lock().unwrap();
        let found = fs::read(self.root.join(&path)).ok();
        match (answers, found) {
            (Answers::Silent, _) => {
                // Until the client hangs up.
                stream.set_read_timeout(Some(Duration::from_secs(120)))?;
                stream.read(&mut [0]).map(drop)
            }
            (Answers::Status(status), _) => reply(&mut stream, &status.to_string(), 0, b""),
            (_, None) => reply(&mut stream, "404", 0, b""),
            (_, Some(bytes)) => {
                let (head, mut bytes) = match range {
                    Some((from, to)) => {
                        let to = to.min(bytes.len() - 1);
                        let head = format!("206 Part\r\nContent-Range: bytes {from}-{to}/{}", bytes.len());
                        (head, bytes[from..=to].to_vec())
                    }
                    None => ("200 OK".into(), bytes),
                };
                let (len, middle) = (bytes.len(), bytes.len() / 2);
                match answers {
                    Answers::Late(ms) => std::thread::sleep(Duration::from_millis(ms)),
                    Answers::Cut => bytes.truncate(middle),
                    Answers::Changed => bytes[middle] ^= 0x40,
                    _ => {}
                }
                reply(&mut stream, &head, len, &bytes)
            }
        }
    }
}

fn reply(to: &mut TcpStream, head: &str, len: usize, body: &[u8]) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
    to.write_all(head.as_bytes())?;
    to.write_all(body)
}
