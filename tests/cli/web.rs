//! A web server for tests: answers each request with what was laid out for it, in order, and notes what was asked.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One answer to a GET.
#[derive(Clone)]
pub enum Answer {
    Whole(Vec<u8>),
    /// Says how long it is, and hangs up half-way.
    Half(Vec<u8>),
    /// Half of it, without having said how long it is.
    HalfUntold(Vec<u8>),
    Status(u16),
    /// Hangs up at once.
    Nothing,
    /// Whole, but only after a while.
    Late(Vec<u8>, Duration),
}

#[derive(Default)]
struct Table {
    /// The last answer of each path is given again and again.
    answers: BTreeMap<String, VecDeque<Answer>>,
    asked: Vec<String>,
    knows_head: bool,
}

pub struct Web {
    pub url: String,
    table: Arc<Mutex<Table>>,
}

impl Web {
    pub fn start() -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let table = Arc::new(Mutex::new(Table { knows_head: true, ..Table::default() }));
        let shared = table.clone();
        // It ends with the test program.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let table = shared.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &table));
            }
        });
        Web { url, table }
    }

    pub fn lay(&self, path: &str, answers: &[Answer]) {
        self.table.lock().unwrap().answers.insert(path.into(), answers.iter().cloned().collect());
    }

    pub fn without_head(&self) {
        self.table.lock().unwrap().knows_head = false;
    }

    /// `GET /path`, `HEAD /path`, …, since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.table.lock().unwrap().asked)
    }
}

fn serve(stream: TcpStream, table: &Mutex<Table>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else { return };
    while lines.next().is_some_and(|line| line.is_ok_and(|l| !l.is_empty())) {}
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let answer = {
        let mut table = table.lock().unwrap();
        table.asked.push(format!("{method} {path}"));
        let is_head = method == "HEAD";
        let knows_head = table.knows_head;
        match table.answers.get_mut(&path) {
            _ if is_head && !knows_head => Answer::Status(405),
            Some(answers) if answers.len() > 1 && !is_head => answers.pop_front().unwrap(),
            Some(answers) => answers.front().unwrap().clone(),
            None => Answer::Status(404),
        }
    };
    let body = method != "HEAD";
    // A client that hung up meanwhile needs no answer.
    let _ = reply(stream, answer, body);
}

fn reply(mut to: TcpStream, answer: Answer, with_body: bool) -> std::io::Result<()> {
    let head = |status: u16, length: Option<usize>| {
        let length = length.map(|n| format!("Content-Length: {n}\r\n")).unwrap_or_default();
        format!("HTTP/1.1 {status} So\r\n{length}Connection: close\r\n\r\n")
    };
    let (head, body) = match &answer {
        Answer::Late(body, after) => {
            std::thread::sleep(*after);
            (head(200, Some(body.len())), &body[..])
        }
        Answer::Whole(body) => (head(200, Some(body.len())), &body[..]),
        Answer::Half(body) => (head(200, Some(body.len())), &body[..body.len() / 2]),
        Answer::HalfUntold(body) => (head(200, None), &body[..body.len() / 2]),
        Answer::Status(status) => (head(*status, Some(0)), &b""[..]),
        Answer::Nothing => return Ok(()),
    };
    to.write_all(head.as_bytes())?;
    if with_body {
        to.write_all(body)?;
    }
    to.flush()
}
