//! Contents that come later: an entry without them, and the fetcher that brings them.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use super::*;
use crate::remote::RemoteLimits;
use crate::remote::fetcher::testing::*;
use crate::remote::fetcher::{self, FetcherOptions};
use crate::store::ObjectId;
use crate::sys::local_socket;

/// How long a read waits here.
const WAIT: Duration = Duration::from_millis(500);

fn options(idle: Duration) -> FetcherOptions {
    FetcherOptions { idle, limits: limits(WAIT) }
}

fn limits(wait: Duration) -> FetcherLimits {
    FetcherLimits { wait: Some(wait), ..FetcherLimits::default() }
}

/// One that ends soon.
fn brief() -> FetcherOptions {
    options(Duration::from_millis(700))
}

/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(60);

/// A tree in the store of the second machine, without contents.
fn lazy(files: &[(&str, Vec<u8>)], completion: Completion) -> (TwoMachines, TreeId, u64) {
    let mut team = TwoMachines::new();
    let tree = team.tree(files);
    team.push("main", "web", tree).unwrap();
    team.remote.spec.lazy = true;
    team.remote.spec.completion = completion;
    let (received, said, requests) = team.bring(&["web"], &|_| {});
    assert_eq!((received.map(|received| received.tree), said), (Some(tree), Vec::new()));
    (team, tree, requests)
}

impl TwoMachines {
    fn fetcher(&self, options: FetcherOptions) -> JoinHandle<()> {
        let at = self.to.path().to_path_buf();
        std::thread::spawn(move || fetcher::run(&at, options).unwrap())
    }

    /// The fetcher's answer for an object, and before it perhaps the time within which it comes.
    fn lines(&self, id: &ObjectId) -> Vec<String> {
        let until = Instant::now() + LONG;
        let mut stream = loop {
            match local_socket::connect(&self.to.path().join("fetcher"), "socket") {
                Ok(stream) => break stream,
                Err(e) => assert!(Instant::now() < until, "{e}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(format!("need 7 {id}\n").as_bytes()).unwrap();
        let (mut reader, mut lines) = (BufReader::new(stream), Vec::new());
        while lines.last().is_none_or(|line: &String| line.starts_with("wait 7 ")) {
            let mut line = String::new();
            assert!(reader.read_line(&mut line).unwrap() > 0);
            lines.push(line);
        }
        lines
    }

    /// The fetcher's answer for an object.
    fn need(&self, id: &ObjectId) -> String {
        self.lines(id).pop().unwrap()
    }
}

fn some_files() -> Vec<(&'static str, Vec<u8>)> {
    let small = ["a", "b", "c", "d"].map(|name| (name, noise(name, 700 << 10)));
    small.into_iter().chain([("large", vec![7; 9 << 20])]).collect()
}

#[test]
fn an_entry_without_contents_is_its_tree_and_the_indexes_and_a_read_brings_one_frame() {
    let (team, tree, requests) = lazy(&some_files(), Completion::OnUse);
    // Settings, entry, times, tree, and the end of the only pack.
    assert_eq!(requests, 5);
    assert!(!team.to.is_complete(tree).unwrap() && team.to.source(&tree).unwrap().is_some());
    let (_, _, again) = team.bring(&["web"], &|_| {});
    assert_eq!(again, 3, "settings, entry and times");
    let fetcher = team.fetcher(brief());
    let (a, large) = (ObjectId::of(&noise("a", 700 << 10)), ObjectId::of(&vec![7; 9 << 20]));
    assert!(!team.to.objects().contains(&a) && !team.to.objects().contains(&large));
    assert_eq!(team.need(&a), "here 7\n");
    assert!(team.to.objects().sound_content(&a).is_ok() && !team.to.objects().contains(&large));
    assert_eq!(team.need(&large), "here 7\n");
    assert!(team.to.objects().sound_content(&large).is_ok() && !team.to.is_complete(tree).unwrap());
    let unknown = team.need(&ObjectId([1; 32]));
    assert!(unknown.starts_with("absent 7 no remote is known"), "{unknown}");
    // It ends by itself though not everything came: nobody asks.
    fetcher.join().unwrap();
    assert!(local_socket::connect(&team.to.path().join("fetcher"), "socket").is_err());
}

#[test]
fn a_tree_completes_itself_and_then_needs_no_source() {
    let (team, tree, _) = lazy(&some_files(), Completion::Always);
    team.fetcher(options(LONG)).join().unwrap();
    assert!(team.to.is_complete(tree).unwrap() && team.to.sources().unwrap().is_empty());
    for (_, bytes) in some_files() {
        assert!(team.to.objects().sound_content(&ObjectId::of(&bytes)).is_ok());
    }
}

#[test]
fn a_damaged_frame_is_named_and_nothing_of_it_is_filled() {
    let (team, tree, _) = lazy(&some_files()[..4], Completion::Always);
    let [at] = &team.files("packs")[..] else { panic!("one pack") };
    let mut bytes = std::fs::read(at).unwrap();
    // Something of each frame; the index is behind the last 8 KiB.
    (2000..bytes.len() - 8192).step_by(50_000).for_each(|at| bytes[at] ^= 1);
    std::fs::write(at, bytes).unwrap();
    let fetcher = team.fetcher(brief());
    let a = ObjectId::of(&noise("a", 700 << 10));
    let said = team.need(&a);
    assert!(said.contains("absent 7 the remote team has a damaged packs/"), "{said}");
    fetcher.join().unwrap();
    assert!(!team.to.objects().contains(&a) && !team.to.is_complete(tree).unwrap());
}

#[test]
fn a_remote_that_is_gone_is_named_and_the_fetcher_goes_on_when_it_is_back() {
    let (team, tree, _) = lazy(&some_files()[..4], Completion::Always);
    let (at, away) = (team.dir.path().join("remote"), team.dir.path().join("away"));
    std::fs::rename(&at, &away).unwrap();
    let fetcher = team.fetcher(options(LONG));
    let a = ObjectId::of(&noise("a", 700 << 10));
    let began = Instant::now();
    let said = team.need(&a);
    assert!(said.contains("absent 7 the remote team does not answer"), "{said}");
    assert!(began.elapsed() >= WAIT);
    let until = Instant::now() + LONG;
    while silent_remotes(&team.to).is_empty() {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(10));
    }
    std::fs::rename(&away, &at).unwrap();
    fetcher.join().unwrap();
    assert!(team.to.is_complete(tree).unwrap() && silent_remotes(&team.to).is_empty());
}

#[test]
fn a_read_waits_as_long_as_the_configuration_of_its_remote_has_it() {
    let (team, _, _) = lazy(&some_files()[..2], Completion::OnUse);
    std::fs::rename(team.dir.path().join("remote"), team.dir.path().join("away")).unwrap();
    let of = |seconds| RemoteLimits { wait: Some(Duration::from_secs(seconds)), bandwidth: None };
    let remotes = [("team".to_owned(), of(1)), ("other".to_owned(), of(3000))].into_iter().collect();
    let fetcher = team.fetcher(FetcherOptions { limits: FetcherLimits { wait: None, remotes }, ..brief() });
    let began = Instant::now();
    let lines = team.lines(&ObjectId::of(&noise("a", 700 << 10)));
    assert!(lines[0] == "wait 7 1000\n" && lines[1].contains("absent 7 the remote team does not answer"), "{lines:?}");
    assert!(began.elapsed() >= Duration::from_secs(1));
    fetcher.join().unwrap();
}

#[test]
fn bytes_come_no_faster_than_the_configuration_of_their_remote_has_it() {
    let files: Vec<(&str, Vec<u8>)> = ["a", "b", "c", "d"].map(|name| (name, noise(name, 700 << 10))).into();
    let (team, tree, _) = lazy(&files, Completion::Always);
    let bandwidth = Some(8_000_000);
    let remotes = [("team".to_owned(), RemoteLimits { wait: None, bandwidth })].into_iter().collect();
    let began = Instant::now();
    let limits = FetcherLimits { wait: Some(LONG), remotes };
    team.fetcher(FetcherOptions { idle: LONG, limits }).join().unwrap();
    // 2.8 MB, a megabyte each second.
    assert!(began.elapsed() >= Duration::from_millis(2600), "{:?}", began.elapsed());
    assert!(team.to.is_complete(tree).unwrap());
    // One who waits is not behind what is brought ahead.
    let mut work = Work::new(FetcherLimits {
        wait: None,
        remotes: [("team".to_owned(), RemoteLimits { wait: None, bandwidth })].into_iter().collect(),
    });
    let (team, ..) = lazy(&files, Completion::Always);
    let now = Instant::now();
    work.catalog.refresh(&team.to).unwrap();
    work.prefetch(files.iter().map(|(_, bytes)| ObjectId::of(bytes)).collect::<HashSet<_>>(), now);
    let request = Request { of: Arc::new(Answers::default()), number: 1 };
    work.demand(ObjectId::of(&files[3].1), request, now).unwrap();
    assert!(work.next(now).is_some() && work.next(now).is_none());
}

#[test]
fn a_whole_tree_is_waited_for_though_it_is_brought_on_use() {
    let (team, tree, _) = lazy(&some_files(), Completion::OnUse);
    let fetcher = team.fetcher(options(LONG));
    team.need(&ObjectId([1; 32]));
    fetcher::complete(&team.to, &[tree], &()).unwrap();
    assert!(team.to.is_complete(tree).unwrap());
    fetcher.join().unwrap();
}

#[test]
fn a_whole_tree_whose_remote_is_gone_is_given_up() {
    let (team, tree, _) = lazy(&some_files()[..2], Completion::OnUse);
    std::fs::rename(team.dir.path().join("remote"), team.dir.path().join("away")).unwrap();
    let fetcher = team.fetcher(brief());
    team.need(&ObjectId([1; 32]));
    let failed = fetcher::complete(&team.to, &[tree], &()).unwrap_err().to_string();
    assert!(failed.contains("the remote team does not answer"), "{failed}");
    fetcher.join().unwrap();
}

/// Answers, as they came.
#[derive(Default)]
struct Answers(Mutex<Vec<String>>);

impl Asker for Answers {
    fn tell(&self, line: &str) {
        self.0.lock().unwrap().push(line.into());
    }
}

#[test]
fn a_piece_that_is_waited_for_overtakes_the_others_and_is_requested_once() {
    let names: Vec<String> = (0..12).map(|n| format!("f{n:02}")).collect();
    let files: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (name.as_str(), noise(name, 1 << 20))).collect();
    let (team, _, _) = lazy(&files, Completion::Always);
    let now = Instant::now();
    let mut work = Work::new(limits(LONG));
    work.catalog.refresh(&team.to).unwrap();
    work.prefetch(files.iter().map(|(_, bytes)| ObjectId::of(bytes)).collect::<HashSet<_>>(), now);
    let first = work.next(now).unwrap();
    assert!(first.pieces.len() == 3, "{:?}", first.pieces);
    let last = ObjectId::of(&files[11].1);
    let answers = Arc::new(Answers::default());
    for number in [1, 2] {
        work.demand(last, Request { of: answers.clone(), number }, now).unwrap();
    }
    let demanded = work.next(now).unwrap();
    assert!(demanded.pieces == work.catalog.pieces_of(&last));
    // While somebody waits, the others go in small pieces.
    let small = work.next(now).unwrap();
    assert!(small.pieces.len() == 1, "{:?}", small.pieces);
    let outcome = demanded.pieces.iter().map(|piece| (*piece, Ok(()))).collect();
    let given = work.ended(demanded, Ok(outcome), now);
    let numbers: Vec<u64> = given.iter().filter(|(_, done)| done.is_ok()).map(|(request, _)| request.number).collect();
    assert_eq!(numbers, [1, 2]);
}

#[test]
fn a_remote_that_does_not_answer_is_waited_for_once_and_then_for_a_short_time() {
    let files = some_files();
    let (team, _, _) = lazy(&files[..2], Completion::OnUse);
    let now = Instant::now();
    let mut work = Work::new(limits(LONG));
    work.catalog.refresh(&team.to).unwrap();
    let answers = Arc::new(Answers::default());
    let request = |number| Request { of: answers.clone(), number };
    work.demand(ObjectId::of(&files[0].1), request(1), now).unwrap();
    let job = work.next(now).unwrap();
    let silent = || RemoteError::Unreachable { remote: "team".into(), why: "refused".into() };
    assert!(work.ended(job, Err(silent()), now).is_empty());
    assert!(work.next(now).is_none(), "it is not asked again at once");
    assert!(work.next(now + Duration::from_secs(1)).is_some());
    assert!(work.expired(now + LONG / 2).is_empty());
    let given = work.expired(now + LONG);
    assert!(matches!(&given[..], [(_, Err(why))] if why.contains("team does not answer")));
    let later = now + LONG;
    work.demand(ObjectId::of(&files[1].1), request(2), later).unwrap();
    assert_eq!(work.expired(later + Duration::from_secs(2)).len(), 1);
}
