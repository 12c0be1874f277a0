//! A push whose network is cut after so many bytes, wherever that is: no reader sees half of it, and the next push
//! succeeds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;

use super::*;

/// A server that speaks as much of S3 as a client needs, until its network is cut.
#[derive(Default)]
struct CutBucket {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Bytes of requests until the network is cut, and those that came.
    left: Mutex<usize>,
    came: Mutex<usize>,
}

impl CutBucket {
    fn mend(&self) {
        self.cut_after(usize::MAX);
    }

    fn cut_after(&self, bytes: usize) {
        *self.left.lock().unwrap() = bytes;
    }

    /// Whether that many bytes came through.
    fn take(&self, bytes: usize) -> bool {
        let mut left = self.left.lock().unwrap();
        let whole = *left >= bytes;
        *left = left.saturating_sub(bytes);
        *self.came.lock().unwrap() += bytes;
        whole
    }

    fn answer(&self, stream: &mut TcpStream) {
        let head = head(stream);
        let mut words = head.split_whitespace();
        let (Some(method), Some(path)) = (words.next(), words.next()) else { return };
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let mut body = vec![0; field("content-length:").map_or(0, |n| n.parse().unwrap())];
        if !self.take(head.len()) || stream.read_exact(&mut body).is_err() || !self.take(body.len()) {
            return;
        }
        let mut objects = self.objects.lock().unwrap();
        let (status, fields, content) = match (method, objects.get(path)) {
            ("put", Some(_)) => ("412 Precondition Failed", String::new(), Vec::new()),
            ("put", None) => {
                objects.insert(path.into(), body);
                ("200 OK", String::new(), Vec::new())
            }
            (_, None) => ("404 Not Found", String::new(), Vec::new()),
            (_, Some(there)) => match field("range: bytes=").and_then(|range| range.split_once('-')) {
                Some((from, to)) => {
                    let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
                    let range = format!("Content-Range: bytes {from}-{to}/{}\r\n", there.len());
                    ("206 Partial Content", range, there[from..=to].to_vec())
                }
                None => ("200 OK", String::new(), there.clone()),
            },
        };
        // The last request was done, and its answer is lost.
        if *self.left.lock().unwrap() == 0 {
            return;
        }
        let (date, len) = ("Last-Modified: Thu, 01 Jan 2099 00:00:00 GMT\r\nETag: \"1\"", content.len());
        let head = format!("HTTP/1.1 {status}\r\n{fields}{date}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
        let content = if method == "head" { Vec::new() } else { content };
        drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&content)));
    }
}

/// A team whose remote is an empty bucket, set up.
fn with_bucket(team: &mut TwoMachines) -> Arc<CutBucket> {
    let bucket = Arc::new(CutBucket::default());
    bucket.mend();
    let served = bucket.clone();
    let spec = RemoteSpec { read: vec!["main".into()], ..server(move |stream| served.answer(stream)) };
    assert!(OpenRemote::init(&spec, 90).unwrap());
    team.remote = OpenRemote::open_with(&spec, ClientLimits { retries: 0, ..ClientLimits::default() }).unwrap();
    bucket
}

/// Fetches into an empty store: the whole tree, or nothing.
#[track_caller]
fn is_fetched(team: &mut TwoMachines, tree: TreeId) -> bool {
    let dir = tempfile::tempdir_in(team.dir.path()).unwrap();
    team.to = Store::open(dir.path()).unwrap();
    let (received, said, _) = team.bring(&["web"], &|_| {});
    assert_eq!(said, Vec::<String>::new());
    let whole = received.map(|received| received.tree);
    assert!(whole.is_none() || (whole == Some(tree) && team.to.verify(&()).unwrap().is_empty()));
    whole.is_some()
}

#[test]
fn a_push_that_is_cut_off_at_any_byte_shows_nothing_or_all_and_the_next_one_succeeds() {
    let mut team = TwoMachines::new();
    let tree = team.tree(&[("a", noise("a", 3000)), ("b", b"b".to_vec())]);
    let bucket = with_bucket(&mut team);
    let before = *bucket.came.lock().unwrap();
    team.push("main", "web", tree).unwrap();
    let all = *bucket.came.lock().unwrap() - before;
    let (mut failed, mut shown) = (0, 0);
    for n in (0..14).map(|n| all * n / 14).chain([1, all - 2, all - 1, all, usize::MAX]) {
        let bucket = with_bucket(&mut team);
        bucket.cut_after(n);
        failed += u32::from(team.push("main", "web", tree).is_err());
        bucket.mend();
        shown += u32::from(is_fetched(&mut team, tree));
        team.push("main", "web", tree).unwrap_or_else(|e| panic!("after a cut at {n}: {e}"));
        assert!(is_fetched(&mut team, tree), "after a cut at {n}");
    }
    assert!(failed > 12 && shown > 0, "{failed} failed, {shown} were shown");
}
