//! The pool with sockets in place of devices, at whose far ends a test is the kernel.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::*;
use crate::fuse::session::Session;
use crate::fuse::{Passthrough, RenameGate, ServedView};
use crate::overlay::{Overlay, OverlayConfig};
use crate::store::Store;
use crate::sys::fuse_dev::KernelOffer;
use crate::sys::{path, socket};

const PATIENCE: Duration = Duration::from_secs(30);
const LOOKUP: u32 = 1;
const RENAME2: u32 = 45;
const FORGET: u32 = 2;
const FSYNCDIR: u32 = 30;
/// Known to no version of fuser that is used here.
const UNKNOWN: u32 = 4000;
/// Known, and left to fuser's defaults.
const ACCESS: u32 = 34;
const ENOENT_IS_AN_ENTRY: usize = 16 + 128;

/// The far end of one connection.
struct Kernel {
    device: OwnedFd,
    has_ended: Receiver<()>,
    unique: u64,
}

impl Kernel {
    fn send(&mut self, opcode: u32, body: &[u8]) -> u64 {
        self.unique += 2;
        let mut request = vec![0; 40];
        request[..4].copy_from_slice(&((40 + body.len()) as u32).to_ne_bytes());
        request[4..8].copy_from_slice(&opcode.to_ne_bytes());
        request[8..16].copy_from_slice(&self.unique.to_ne_bytes());
        request[16..24].copy_from_slice(&1u64.to_ne_bytes());
        request.extend_from_slice(body);
        socket::send(self.device.as_fd(), &request, &[]).expect("sent");
        self.unique
    }

    /// The next answer: of which request, its error number, and its length.
    fn answer(&self) -> Option<(u64, i32, usize)> {
        let until = Instant::now() + PATIENCE;
        let mut buf = [0; 4096];
        while Instant::now() < until {
            if let Some(n) = socket::receive_now(self.device.as_fd(), &mut buf).expect("asked") {
                let errno = i32::from_ne_bytes(buf[4..8].try_into().expect("4"));
                return Some((u64::from_ne_bytes(buf[8..16].try_into().expect("8")), -errno, n));
            }
            std::thread::sleep(Duration::from_micros(20));
        }
        None
    }

    /// Asks, and has the answer to just that.
    fn ask(&mut self, opcode: u32, body: &[u8]) -> (i32, usize) {
        let asked = self.send(opcode, body);
        let (unique, errno, len) = self.answer().unwrap_or_else(|| panic!("{opcode} was not answered"));
        assert_eq!(unique, asked, "the answer to another request");
        (errno, len)
    }

    fn looks_up(&mut self) {
        assert_eq!(self.ask(LOOKUP, b"nothing\0"), (0, ENOENT_IS_AN_ENTRY));
    }
}

struct Bench {
    pool: Pool,
    whole: Arc<RenameGate>,
    blocking: Blocking,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let blocking = Blocking::new("test", 2);
        let pool = Pool::new(blocking.clone(), ArrivalPool::default()).expect("a pool");
        Bench { pool, whole: Arc::default(), blocking, dir: tempfile::tempdir().expect("a directory") }
    }

    /// Waits until so many workers have read a request that is not answered.
    fn wait_for_busy(&self, n: usize) {
        let until = Instant::now() + PATIENCE;
        let busy = || self.pool.0.state.lock().workers.iter().filter(|w| w.look().0 == Phase::Busy).count();
        while busy() != n {
            assert!(Instant::now() < until, "not {n} workers, but {}", busy());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn connect(&self, n: usize) -> Vec<Kernel> {
        (0..n).map(|i| self.connection(i)).collect()
    }

    fn connection(&self, i: usize) -> Kernel {
        let dir = |what: &str| {
            let dir = self.dir.path().join(format!("{what} {i}"));
            path::make_dirs(&dir).expect("made");
            dir
        };
        let objects = Store::open(&self.dir.path().join("store")).expect("a store").objects().clone();
        let config = OverlayConfig { state_dir: dir("state"), grafts: vec![], objects, takeover: false };
        let overlay = Overlay::open(path::open_dir(&dir("upper")).expect("opened"), config).expect("a view");
        let view = ServedView {
            overlay: Arc::new(overlay),
            connection: i as u64 + 1,
            id: i.to_string(),
            facts: Default::default(),
            passthrough: Passthrough::new(None, &[], Box::new(|_| ())),
            owner: 0,
            blocking: self.blocking.clone(),
            arrivals: ArrivalPool::default(),
            whole: self.whole.clone(),
            exchange_before: None,
            on_exchange: Box::new(|_| ()),
            on_emptied: Box::new(|| ()),
            on_relocated: Arc::new(|| ()),
        };
        let (near, far) = socket::packet_pair().expect("a pair");
        let offer = KernelOffer { major: 7, minor: 31, max_readahead: 0, capabilities: 0 };
        let session = Session::next(view, near, offer, &self.pool).expect("begun");
        let mut first = [0; 64];
        while socket::receive_now(far.as_fd(), &mut first).expect("asked").is_some() {}
        let (end, has_ended) = channel();
        session
            .serve(&self.pool, move || {
                let _ = end.send(());
            })
            .expect("served");
        Kernel { device: far, has_ended, unique: 0 }
    }

    fn workers(&self) -> usize {
        self.pool.0.state.lock().workers.len()
    }
}

#[test]
fn a_few_workers_answer_for_many_connections() {
    let bench = Bench::new();
    let mut kernels = bench.connect(100);
    for _ in 0..3 {
        kernels.iter_mut().for_each(Kernel::looks_up);
    }
    assert!(bench.workers() <= bench.pool.0.few, "{} workers", bench.workers());
}

/// The answers are read by threads of their own connection, which ask again at once.
#[test]
fn every_answer_reaches_its_own_connection_once_and_in_its_order() {
    let bench = Bench::new();
    let kernels = bench.connect(24);
    let until = Instant::now() + Duration::from_secs(4);
    std::thread::scope(|scope| {
        for (seed, mut kernel) in kernels.into_iter().enumerate() {
            scope.spawn(move || {
                let mut random = seed as u64 * 7919 + 1;
                while Instant::now() < until {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    match random % 8 {
                        0 => assert_eq!(kernel.ask(UNKNOWN, &[0; 8]).0, libc::ENOSYS),
                        1 => assert_eq!(kernel.ask(ACCESS, &[0; 8]).0, libc::ENOSYS),
                        2 => assert_eq!(kernel.ask(FSYNCDIR, &[0; 16]), (0, 16)),
                        3 => {
                            let _ = kernel.send(FORGET, &1u64.to_ne_bytes());
                        }
                        4 => std::thread::sleep(Duration::from_micros(random % 3000)),
                        5 => {
                            let asked = [0; 5].map(|_| kernel.send(LOOKUP, b"nothing\0"));
                            let answered = [0; 5].map(|_| kernel.answer().expect("answered").0);
                            assert_eq!(answered, asked, "in another order");
                        }
                        _ => kernel.looks_up(),
                    }
                }
            });
        }
    });
}

/// `fuse_rename2_in` with RENAME_EXCHANGE, which is answered by the worker itself, and two names.
fn exchange() -> Vec<u8> {
    [&1u64.to_ne_bytes()[..], &2u64.to_ne_bytes(), b"a\0b\0"].concat()
}

#[test]
fn when_all_workers_are_held_up_the_others_connections_are_answered_all_the_same() {
    let bench = Bench::new();
    let mut held = bench.connect(8);
    let mut other = bench.connection(100);
    let whole = bench.whole.write();
    let body = exchange();
    let asked: Vec<u64> = held.iter_mut().map(|kernel| kernel.send(RENAME2, &body)).collect();
    bench.wait_for_busy(8);
    other.looks_up();
    assert!(bench.workers() > 8, "{} workers", bench.workers());
    drop(whole);
    for (kernel, asked) in held.iter().zip(asked) {
        assert_eq!(kernel.answer().map(|a| (a.0, a.1)), Some((asked, libc::ENOENT)));
    }
}

#[test]
fn a_connection_that_ends_closes_its_view_while_others_are_answered() {
    let bench = Bench::new();
    let mut kernels = bench.connect(12);
    let silent = kernels.split_off(6);
    // These were asked last, so a worker has them; those have been silent from the beginning.
    kernels.iter_mut().for_each(Kernel::looks_up);
    let (ended, mut others) = (kernels.split_off(3), kernels);
    for kernel in ended.into_iter().chain(silent) {
        drop(kernel.device);
        kernel.has_ended.recv_timeout(PATIENCE).expect("its end is told");
        others.iter_mut().for_each(Kernel::looks_up);
    }
    assert_eq!(bench.pool.0.state.lock().connections.len(), others.len());
    assert!(bench.workers() >= 1);
}

#[test]
fn a_pool_that_is_drained_answers_what_it_has_read_and_reads_nothing_more() {
    let bench = Bench::new();
    let mut kernels = bench.connect(3);
    kernels.iter_mut().for_each(Kernel::looks_up);
    bench.wait_for_busy(0);
    let whole = bench.whole.write();
    let body = exchange();
    let asked = kernels[0].send(RENAME2, &body);
    bench.wait_for_busy(1);
    assert!(!bench.pool.drain(Duration::from_millis(50)), "a request is not answered yet");
    drop(whole);
    assert!(bench.pool.drain(PATIENCE));
    assert_eq!(kernels[0].answer().map(|a| (a.0, a.1)), Some((asked, libc::ENOENT)));
    for kernel in &mut kernels {
        kernel.send(LOOKUP, b"nothing\0");
    }
    std::thread::sleep(Duration::from_millis(50));
    assert!(kernels.iter().all(|kernel| socket::receive_now(kernel.device.as_fd(), &mut [0; 64]).unwrap().is_none()));
}
