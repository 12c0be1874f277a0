//! Views whose objects are not all here: reads wait for them, and nothing else does.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use depsfs::store::import::import_dir;
use depsfs::store::{ObjectId, Store};
use depsfs::sys::fs as calls;

use crate::bench::{Bench, bench, is_root, signal, wait_until};

const FILES: u32 = 100;

fn content(n: u32) -> Vec<u8> {
    format!("{n} ").repeat(100 + n as usize).into_bytes()
}

/// How the stand-in for the fetcher answers.
#[derive(Clone, PartialEq)]
enum Answers {
    /// Each with the object.
    Fill,
    /// None, until that changes.
    Hold,
    Refuse(&'static str),
    /// By the end of the connection.
    Hang,
}

/// A process that brings objects, as a thread of the test.
#[derive(Clone)]
struct StandIn {
    store: Store,
    pack: String,
    answers: Arc<Mutex<Answers>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    fn answer(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn fill(&self, numbers: impl Iterator<Item = u32>) {
        let some: Vec<Vec<u8>> = numbers.map(content).collect();
        let some: Vec<(ObjectId, &[u8])> = some.iter().map(|bytes| (ObjectId::of(bytes), &bytes[..])).collect();
        self.store.fill(&self.pack.parse().unwrap(), &some).unwrap();
    }

    fn listen(&self) {
        let dir = self.store.path().join("fetcher");
        fs::DirBuilder::new().mode(0o700).recursive(true).create(&dir).unwrap();
        let listener = UnixListener::bind(dir.join("socket")).unwrap();
        let own = self.clone();
        std::thread::spawn(move || {
            while let Ok((connection, _)) = listener.accept() {
                let own = own.clone();
                std::thread::spawn(move || own.serve(connection));
            }
        });
    }

    fn serve(&self, mut connection: UnixStream) {
        let mut lines = BufReader::new(connection.try_clone().unwrap());
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|n| n > 0) {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            self.asked.lock().unwrap().push(words[2].clone());
            line.clear();
            loop {
                let now = self.answers.lock().unwrap().clone();
                let answer = match now {
                    Answers::Hold => {
                        std::thread::sleep(Duration::from_millis(5));
                        continue;
                    }
                    Answers::Hang => return,
                    Answers::Fill => {
                        let wanted = (0..FILES).filter(|n| ObjectId::of(&content(*n)).hex() == words[2]);
                        self.fill(wanted);
                        format!("here {}\n", words[1])
                    }
                    Answers::Refuse(why) => format!("absent {} {why}\n", words[1]),
                };
                if connection.write_all(answer.as_bytes()).is_err() {
                    return;
                }
                break;
            }
        }
    }
}

/// Has the view show a tree of which the store has the pack's head only, and the first ten objects.
fn lazy(bench: &mut Bench, wait: &str) -> StandIn {
    let source = bench.dir.join("remote source");
    fs::create_dir(&source).unwrap();
    (0..FILES).for_each(|n| fs::write(source.join(n.to_string()), content(n)).unwrap());
    let remote = Store::open(&bench.dir.join("remote store")).unwrap();
    let tree = import_dir(&remote, &source, &()).unwrap().tree;
    let pack = fs::read_dir(remote.path().join("packs")).unwrap().next().unwrap().unwrap();
    let bytes = fs::read(pack.path()).unwrap();
    let end = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) as usize;
    let store = Store::open(&bench.manifest.store).unwrap();
    store.put_source(&tree, b"a test").unwrap();
    fs::create_dir_all(store.tree_path(tree).parent().unwrap()).unwrap();
    fs::copy(remote.tree_path(tree), store.tree_path(tree)).unwrap();
    let pack = pack.file_name().into_string().unwrap();
    store.add_sparse_pack(&pack.parse().unwrap(), &bytes[..64], &bytes[end..]).unwrap();
    let stand_in = StandIn { store, pack, answers: Arc::new(Mutex::new(Answers::Hold)), asked: Arc::default() };
    stand_in.fill(0..10);
    stand_in.listen();
    bench.manifest.views[0].grafts[0].tree = tree;
    bench.save();
    bench.start_with(&format!("DEPSFS_FETCH_WAIT={wait}"));
    bench.mount();
    stand_in
}

fn reader(path: PathBuf) -> Child {
    Command::new("cat").arg(path).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn output(mut child: Child) -> Vec<u8> {
    let mut bytes = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    assert!(child.wait().unwrap().success());
    bytes
}

fn is_eio(path: &std::path::Path) -> bool {
    fs::read(path).unwrap_err().raw_os_error() == Some(5)
}

#[test]
fn a_read_of_an_absent_object_waits_for_it_while_everything_else_goes_on() {
    let mut bench = bench!("v");
    let stand_in = lazy(&mut bench, "60");
    let view = bench.view("v");
    let readers: Vec<Child> = (20..50).map(|n| reader(view.join(n.to_string()))).collect();
    wait_until("all of them wait", || stand_in.asked() >= 30);
    assert_eq!(fs::read_dir(&view).unwrap().count(), FILES as usize);
    assert!((0..FILES).all(|n| fs::metadata(view.join(n.to_string())).unwrap().len() == content(n).len() as u64));
    (0..10).for_each(|n| assert_eq!(fs::read(view.join(n.to_string())).unwrap(), content(n)));
    fs::write(view.join("new"), "new").unwrap();
    fs::write(view.join("3"), "changed").unwrap();
    fs::rename(view.join("60"), view.join("moved")).unwrap();
    fs::remove_file(view.join("61")).unwrap();
    stand_in.answer(Answers::Fill);
    for (child, n) in readers.into_iter().zip(20..50) {
        assert_eq!(output(child), content(n));
    }
    assert_eq!(fs::read(view.join("moved")).unwrap(), content(60));
    // An object that is here is not demanded again.
    let before = stand_in.asked();
    (20..50).for_each(|n| assert_eq!(fs::read(view.join(n.to_string())).unwrap(), content(n)));
    assert_eq!(stand_in.asked(), before);
}

#[test]
fn a_change_of_an_absent_file_waits_for_its_bytes_and_is_made_to_them() {
    let mut bench = bench!("v");
    let stand_in = lazy(&mut bench, "60");
    let path = |n: u32| bench.view(&format!("v/{n}"));
    std::thread::scope(|scope| {
        let append = scope.spawn(|| {
            let mut file = fs::OpenOptions::new().append(true).open(path(20)).unwrap();
            file.write_all(b"more").unwrap();
        });
        let cut = scope.spawn(|| fs::OpenOptions::new().write(true).open(path(21)).unwrap().set_len(50).unwrap());
        wait_until("both wait", || stand_in.asked() >= 2);
        // To nothing: no bytes of it are needed.
        fs::write(path(22), "anew").unwrap();
        stand_in.answer(Answers::Fill);
        append.join().unwrap();
        cut.join().unwrap();
    });
    assert_eq!(fs::read(path(20)).unwrap(), [&content(20)[..], b"more"].concat());
    assert_eq!(fs::read(path(21)).unwrap(), content(21)[..50]);
    assert_eq!(fs::read(path(22)).unwrap(), b"anew");
    calls::set_xattr_of_path(&path(24), b"user.depsfs.thaw", b"1").unwrap();
    assert_eq!(fs::read(path(24)).unwrap(), content(24));
    let copied = fs::copy(path(23), bench.view("v/copy")).unwrap();
    assert_eq!((copied, fs::read(bench.view("v/copy")).unwrap()), (content(23).len() as u64, content(23)));
}

#[test]
fn without_an_answer_a_read_is_an_error_in_time_and_it_heals_by_itself() {
    let mut bench = bench!("v");
    let stand_in = lazy(&mut bench, "1");
    let path = bench.view("v/30");
    let began = Instant::now();
    assert!(is_eio(&path), "{}", bench.log());
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    let id = ObjectId::of(&content(30)).hex();
    assert!(bench.log().contains(&id) && bench.log().contains("no answer within 1 s"), "{}", bench.log());
    stand_in.answer(Answers::Refuse("the bucket said \x1b[31mno"));
    assert!(is_eio(&path));
    assert!(bench.log().contains("the bucket said") && !bench.log().contains('\x1b'), "{}", bench.log());
    assert_eq!(stand_in.store.lost_objects().unwrap(), []);
    stand_in.answer(Answers::Fill);
    assert_eq!(fs::read(&path).unwrap(), content(30));
}

#[test]
fn a_reader_that_is_interrupted_or_killed_ends_at_once_and_so_does_one_whose_fetcher_died() {
    let mut bench = bench!("v");
    let stand_in = lazy(&mut bench, "60");
    for (n, how) in [(40, "-INT"), (41, "-KILL")] {
        let before = stand_in.asked();
        let mut child = reader(bench.view(&format!("v/{n}")));
        wait_until("it waits", || stand_in.asked() > before);
        let began = Instant::now();
        signal(child.id() as i32, how);
        wait_until("it ends", || child.try_wait().unwrap().is_some());
        assert!(began.elapsed() < Duration::from_secs(10), "{how}: {:?}", began.elapsed());
    }
    let before = stand_in.asked();
    let child = reader(bench.view("v/42"));
    wait_until("it waits", || stand_in.asked() > before);
    stand_in.answer(Answers::Hang);
    wait_until("it was asked again", || stand_in.asked() > before + 1);
    stand_in.answer(Answers::Fill);
    assert_eq!(output(child), content(42));
}

#[test]
fn a_read_that_waits_outlives_its_server() {
    let mut bench = bench!("v");
    let stand_in = lazy(&mut bench, "60");
    let server = bench.state().unwrap().server_pid.unwrap();
    let child = reader(bench.view("v/50"));
    wait_until("it waits", || stand_in.asked() >= 1);
    signal(server, "-KILL");
    wait_until("the next server asks", || stand_in.asked() >= 2);
    stand_in.answer(Answers::Fill);
    assert_eq!(output(child), content(50));
}

#[test]
fn an_absent_file_of_a_view_that_passes_files_through_is_read_by_the_server_and_waits() {
    if !is_root() {
        println!("skipped: only root's views pass files through");
        return;
    }
    let mut bench = bench!("v");
    let stand_in = lazy(&mut bench, "60 DEPSFS_PASSTHROUGH=1");
    let child = reader(bench.view("v/70"));
    wait_until("it waits", || stand_in.asked() >= 1);
    assert_eq!(fs::read(bench.view("v/5")).unwrap(), content(5));
    stand_in.answer(Answers::Fill);
    assert_eq!(output(child), content(70));
    assert_eq!(fs::read(bench.view("v/71")).unwrap(), content(71));
}
