//! Tests of a remote with both of its sides: pushed from one store, fetched into another.

#[path = "cut.rs"]
mod cut;
#[path = "damage.rs"]
mod damage;
#[path = "fetcher.rs"]
mod lazy_contents;
#[path = "web.rs"]
mod web;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use super::client::Client;
use super::entry::RemoteEntry;
use super::limits::ClientLimits;
use super::spec::Credentials;
use super::times::{TrackedTime, TrackedTimes};
use super::*;
use crate::store::import::import_dir;
use crate::store::{Progress, Store, TreeId};

const DAY: u64 = 86_400;
/// Limits that a test can wait for.
const SHORT: ClientLimits =
    ClientLimits { probe: Duration::from_millis(300), read: Duration::from_millis(300), retries: 4 };

/// A remote in a directory, the store of the machine that pushes, and that of one that fetches.
struct TwoMachines {
    dir: tempfile::TempDir,
    remote: OpenRemote,
    from: Store,
    to: Store,
}

impl TwoMachines {
    fn new() -> TwoMachines {
        // In memory nothing waits for a disk.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let at = |name: &str| dir.path().join(name);
        let url = format!("file://{}", at("remote").display());
        let spec = RemoteSpec { name: "team".into(), url, read: vec!["main".into()], ..RemoteSpec::default() };
        assert!(OpenRemote::init(&spec, 90).unwrap());
        let (from, to) = (Store::open(&at("from")).unwrap(), Store::open(&at("to")).unwrap());
        TwoMachines { remote: OpenRemote::open(&spec).unwrap(), from, to, dir }
    }

    fn tree(&self, files: &[(&str, Vec<u8>)]) -> TreeId {
        let dir = tempfile::tempdir_in(self.dir.path()).unwrap();
        files.iter().for_each(|(name, bytes)| std::fs::write(dir.path().join(name), bytes).unwrap());
        import_dir(&self.from, dir.path(), &()).unwrap().tree
    }

    /// Pushes to a line.
    fn push(&self, line: &str, name: &str, tree: TreeId) -> Result<PushOutcome, RemoteError> {
        self.push_with(line, name, tree, false, &())
    }

    fn push_with(
        &self,
        line: &str,
        name: &str,
        tree: TreeId,
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<PushOutcome, RemoteError> {
        let roots = vec![PathBuf::from("/no/such/checkout")];
        let options = PushOptions { line: line.into(), allow: Vec::new(), roots, dry_run };
        let mut pusher = Pusher::new(&self.remote, &self.from, &options, progress)?;
        let times = TrackedTimes::of(vec![TrackedTime("a".into(), "00".into(), 1, 0)], Vec::new());
        let (place, provenance) = (entry_place(name), RemoteProvenance::default());
        let item = PushItem { place, tree: Some(tree), checkout: None, provenance };
        Ok(pusher.push(&[&item], &times)?.remove(0))
    }

    fn entry(&self, line: &str, name: &str) -> RemoteEntry {
        let found = self.remote.entries_of(&[line.into()], &[entry_place(name)], self.dir.path()).unwrap();
        found.into_iter().next().unwrap().unwrap()
    }

    /// Fetches the first entry of these names with a client of its own; the messages.
    fn bring(&self, names: &[&str], name: &dyn Fn(&str)) -> (Option<Received>, Vec<String>, u64) {
        let (said, places) = (std::cell::RefCell::new(Vec::new()), names.iter().map(|name| entry_place(name)));
        let places: Vec<String> = places.collect();
        let team = Team::of(vec![self.remote.spec.clone()]);
        let named = |place: &str| {
            name(place);
            place.replace('/', "-")
        };
        let search = Search {
            store: &self.to,
            places: &places,
            name: &named,
            command: "a test",
            lazy: true,
            say: &|words| said.borrow_mut().push(words.to_owned()),
            progress: &(),
        };
        let received = team.bring(&search).unwrap();
        (received, said.into_inner(), team.traffic().requests)
    }

    /// The remote's files in a folder.
    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let (mut files, mut dirs) = (Vec::new(), vec![self.dir.path().join("remote/depsfs/1").join(folder)]);
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { &mut dirs } else { &mut files }.push(path);
            }
        }
        files
    }
}

/// Bytes that no compression makes shorter.
fn noise(seed: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn the_longest_frame_that_a_push_makes_is_fetched() {
    let team = TwoMachines::new();
    let tree = team.tree(&[("a", noise("a", (1 << 20) - 1)), ("b", noise("b", 8 << 20))]);
    assert!(!team.push("main", "web", tree).unwrap().was_there);
    let (received, said, _) = team.bring(&["web"], &|_| {});
    assert_eq!((received.map(|received| received.tree), said), (Some(tree), Vec::new()));
    assert!(team.to.is_complete(tree).unwrap());
}

#[test]
fn gc_takes_nothing_between_the_import_of_an_entry_and_its_name() {
    let team = TwoMachines::new();
    let tree = team.tree(&[("a", b"a".to_vec())]);
    team.push("main", "web", tree).unwrap();
    let (received, ..) = team.bring(&["web"], &|_| assert!(team.to.try_exclusive().is_err()));
    assert_eq!(received.unwrap().tree, tree);
    assert!(team.to.try_exclusive().is_ok());
}

#[test]
fn a_remote_that_fails_half_way_is_asked_for_nothing_more() {
    let team = TwoMachines::new();
    let (one, two) = (team.tree(&[("a", b"a".to_vec())]), team.tree(&[("b", b"b".to_vec())]));
    team.push("main", "one", one).unwrap();
    let [at] = &team.files("trees")[..] else { panic!("one tree") };
    std::fs::remove_file(at).unwrap();
    // To open this one is an error that is not its absence.
    std::os::unix::fs::symlink(at, at).unwrap();
    team.push("main", "two", two).unwrap();
    let (received, said, _) = team.bring(&["one", "two"], &|_| {});
    assert!(received.is_none() && said.len() == 1 && said[0].contains("going on without it"), "{said:?}");
    assert_eq!(team.bring(&["two"], &|_| {}).0.unwrap().tree, two);
}

#[test]
fn an_entry_ends_before_the_oldest_object_that_it_names() {
    for folder in ["packs", "objects", "trees", "times"] {
        let team = TwoMachines::new();
        let tree = team.tree(&[("a", b"a".to_vec()), ("large", noise("large", (8 << 20) + 1))]);
        team.push("main", "web", tree).unwrap();
        let old = SystemTime::now() - Duration::from_secs(9 * DAY);
        let [at] = &team.files(folder)[..] else { panic!("one object in {folder}") };
        std::fs::File::options().write(true).open(at).unwrap().set_modified(old).unwrap();
        team.push("other", "web", tree).unwrap();
        let until = |line| crate::sys::time::from_rfc3339(&team.entry(line, "web").until).unwrap();
        let earlier = until("main") - until("other");
        assert!((8 * DAY as i64..10 * DAY as i64).contains(&earlier), "{folder}: {earlier} s");
    }
}

#[test]
fn a_name_that_is_taken_by_an_entry_nobody_can_use_is_reported_and_the_next_is_pushed() {
    let team = TwoMachines::new();
    let tree = team.tree(&[("a", b"a".to_vec())]);
    team.push("main", "web", tree).unwrap();
    let [at] = &team.files("lines")[..] else { panic!("one entry") };
    std::fs::write(at, b"{}").unwrap();
    let outcome = team.push("main", "web", tree).unwrap();
    assert!(outcome.was_there && outcome.unusable.is_some_and(|why| why.contains("is not used")));
    assert_eq!(std::fs::read(at).unwrap(), b"{}");
}

#[test]
fn a_look_at_what_would_be_pushed_ends_with_a_signal() {
    struct Cancelled;
    impl Progress for Cancelled {
        fn is_cancelled(&self) -> bool {
            true
        }
    }
    let team = TwoMachines::new();
    let tree = team.tree(&[("a", b"a".to_vec())]);
    let cancelled = team.push_with("main", "web", tree, true, &Cancelled);
    assert!(matches!(cancelled, Err(RemoteError::Interrupted)));
    assert_eq!(team.push_with("main", "web", tree, true, &()).unwrap().new_files.len(), 1);
}

/// A server that gives each request to `answer`, until the test ends. The address of a bucket there.
fn server(answer: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> RemoteSpec {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().flatten().for_each(|mut stream| answer(&mut stream)));
    RemoteSpec {
        name: "team".into(),
        url: "s3://team/p".into(),
        region: Some("us-east-1".into()),
        endpoint: Some(endpoint),
        credentials: Some(Credentials::None),
        ..RemoteSpec::default()
    }
}

/// Reads the head of a request.
fn head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).to_ascii_lowercase()
}

#[test]
fn a_server_that_sends_more_than_was_requested_is_given_up() {
    let spec = server(|stream| {
        head(stream);
        let says = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/10\r\nContent-Length: 1048576\r\n\
                    ETag: \"1\"\r\nLast-Modified: Sun, 01 Nov 2026 00:00:00 GMT\r\nConnection: close\r\n\r\n";
        let sent = stream.write_all(says.as_bytes()).and_then(|()| stream.write_all(&vec![0; 1 << 20]));
        drop(sent);
    });
    let client = Client::open(&spec, ClientLimits::default()).unwrap();
    let bytes = client.get("packs/x", Some(0..10), 10);
    assert!(matches!(bytes, Err(RemoteError::Damaged { .. })), "{:?}", bytes.map(|bytes| bytes.map(|b| b.len())));
}

#[test]
fn an_upload_over_a_slow_line_is_not_given_up_while_it_goes_on() {
    let spec = server(|stream| {
        let head = head(stream);
        let len = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        // The line takes longer than a look at an answer may.
        std::thread::sleep(2 * SHORT.read);
        let mut body = vec![0; len];
        if stream.read_exact(&mut body).is_ok() {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
        }
    });
    let client = Client::open(&spec, SHORT).unwrap();
    assert!(client.create("packs/x", noise("slow", 4 << 20)).unwrap());
}

#[test]
fn a_remote_that_hangs_is_left_to_itself() {
    let team = TwoMachines::new();
    let fifo = team.dir.path().join("remote/depsfs/1/hangs");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let client = Client::open(&team.remote.spec, SHORT).unwrap();
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let late = client.probe(&["hangs".into()], 10).is_err();
        drop(client);
        sender.send(late).unwrap();
    });
    let late = ended.recv_timeout(Duration::from_secs(60));
    // The thread that waits for a writer ends.
    drop(std::fs::File::options().read(true).write(true).open(&fifo).unwrap());
    assert_eq!(late, Ok(true));
}
