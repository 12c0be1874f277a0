//! The server is killed at random moments under a mixed load of processes: no operation fails, no byte differs.
//!
//! The program starts itself as each of the processes ([`load`]); what took them long is laid beside the kills.
//! `DEPSFS_CRASH_KILLS` says how often it kills (by default a few times), `DEPSFS_CRASH_SEED` repeats a run's choices,
//! and with `DEPSFS_CRASH_BUILDS=1` a cargo build and an npm install run beside, where those programs are.

#[path = "mount/bench.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "tests/mount.rs uses all of it")]
mod bench;
#[path = "crash/builds.rs"]
mod builds;
#[path = "crash/load.rs"]
mod load;
#[path = "crash/random.rs"]
mod random;
#[path = "crash/work.rs"]
mod work;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use bench::{Bench, signal, slower, wait_until};
use depsfs::store::{Store, import};
use random::Random;

/// The name of this test in the output and for a filter.
const NAME: &str = "a_killed_server_is_noticed_as_a_pause_and_nothing_else";
/// In the continuous run.
const FEW: u64 = 15;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [worker, kind, dir, seed] = args.as_slice()
        && worker == "worker"
    {
        load::run(kind, Path::new(dir), seed.parse().expect("a number"));
        return ExitCode::SUCCESS;
    }
    if args.iter().any(|a| a == "--list") {
        println!("{NAME}: test\n\n1 test, 0 benchmarks");
        return ExitCode::SUCCESS;
    }
    let filtered = args.iter().any(|a| !a.starts_with('-') && !NAME.contains(a.as_str()) && a.contains('_'));
    if filtered {
        println!("\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.00s");
        return ExitCode::SUCCESS;
    }
    let begun = Instant::now();
    match bench::cannot_mount() {
        Some(why) => println!("skipped: {why}"),
        None => run(),
    }
    println!("test {NAME} ... ok\n");
    let seconds = begun.elapsed().as_secs_f32();
    println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in {seconds:.2}s");
    ExitCode::SUCCESS
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|v| v.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

/// A bench whose views show files with contents that their names tell.
fn filled() -> Bench {
    let mut bench = Bench::new(&["a", "b"]);
    let source = bench.dir.join("source");
    for n in 0..load::LOWER_FILES {
        let path = source.join(load::lower_name(n));
        fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        fs::write(path, load::content(n, load::lower_len(n))).expect("written");
    }
    let store = Store::open(&bench.manifest.store).expect("a store");
    let tree = import::import_dir(&store, &source, &()).expect("imported").tree;
    bench.manifest.views.iter_mut().for_each(|view| view.grafts[0].tree = tree);
    bench.manifest.generation += 1;
    bench.save();
    bench
}

fn run() {
    let kills = number("DEPSFS_CRASH_KILLS").unwrap_or(FEW);
    let seed = number("DEPSFS_CRASH_SEED").unwrap_or_else(|| work::now() % 1_000_000);
    println!("seed {seed}: DEPSFS_CRASH_SEED={seed} makes the same choices again");
    let bench = filled();
    bench.mount();
    let mut random = Random::of(seed);
    let workers: Vec<(String, Child)> = load::KINDS.iter().map(|kind| start(&bench, kind, random.next())).collect();
    let builds = builds::start(&bench);
    std::thread::sleep(Duration::from_millis(300));
    let times: Vec<u64> = (0..kills)
        .map(|_| {
            let at = kill(&bench);
            std::thread::sleep(Duration::from_millis(300 + random.below(500)));
            at
        })
        .collect();
    fs::write(bench.dir.join(load::STOP), "").expect("written");
    let reports: Vec<Report> = workers.into_iter().map(|(kind, child)| Report::of(&bench, &kind, child)).collect();
    builds.into_iter().for_each(|build| build.finish());
    tell(&reports, &times);
    assert_eq!(bench.state().expect("a daemon").trouble, None);
    // The change is there, also without the caches of the kernel.
    bench.unmount();
    bench.mount();
    for (path, want) in reports.iter().flat_map(|r| &r.left) {
        let is = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(blake3::hash(&is).to_hex().as_str(), want, "{}", path.display());
    }
    bench.unmount();
}

fn start(bench: &Bench, kind: &str, seed: u64) -> (String, Child) {
    let program = std::env::current_exe().expect("it runs");
    let view = bench.view(if seed.is_multiple_of(2) { "a" } else { "b" });
    let mut command = Command::new(program);
    command.args(["worker", kind]).arg(view).arg(seed.to_string());
    (kind.into(), command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("started"))
}

/// Kills the server that there is; when, in µs.
fn kill(bench: &Bench) -> u64 {
    let server = || bench.state().and_then(|s| s.server_pid);
    wait_until("a server runs", || server().is_some());
    let before = server();
    let at = work::now();
    signal(before.expect("just seen"), "-KILL");
    wait_until("another server runs", || server().is_some_and(|pid| Some(pid) != before));
    // On a busy machine it serves a while after it has begun. Servers that are killed before are taken for broken ones.
    let absent = bench.view("a").join(format!("absent-{at}"));
    let answers = || fs::symlink_metadata(&absent).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
    wait_until("it answers", answers);
    at
}

/// The report of one process at its end.
struct Report {
    kind: String,
    done: u64,
    slow: Vec<(u64, u64, String)>,
    left: Vec<(PathBuf, String)>,
}

impl Report {
    fn of(bench: &Bench, kind: &str, child: Child) -> Report {
        let said = child.wait_with_output().expect("waited for");
        assert!(said.status.success(), "{kind} failed: {:?}\n{}", said.status, bench.log());
        let mut report = Report { kind: kind.into(), done: 0, slow: Vec::new(), left: Vec::new() };
        for line in String::from_utf8(said.stdout).expect("text").lines() {
            let mut words = line.splitn(4, ' ');
            let mut word = || words.next().expect("a word");
            match word() {
                "slow" => {
                    let (begin, end) = (word().parse().expect("a time"), word().parse().expect("a time"));
                    report.slow.push((begin, end, word().to_owned()));
                }
                "left" => {
                    let hash = word().to_owned();
                    let path = line.splitn(3, ' ').nth(2).expect("a path");
                    report.left.push((path.into(), hash));
                }
                _ => report.done = word().parse().expect("a number"),
            }
        }
        report
    }
}

/// The longest pause of any process around each kill has to be short.
fn tell(reports: &[Report], kills: &[u64]) {
    let mut pauses: BTreeMap<u64, (u64, &str)> = kills.iter().map(|at| (*at, (0, "nothing"))).collect();
    for (begin, end, what) in reports.iter().flat_map(|r| &r.slow) {
        // The kill that it waited for: the last one before its end.
        if let Some((at, longest)) = pauses.range_mut(..=end).next_back()
            && at.max(begin) + 1_000_000 > *end
        {
            *longest = (*longest).max((end - begin, what.as_str()));
        }
    }
    for report in reports {
        println!("  {:10} {:7} operations", report.kind, report.done);
        assert!(report.done > 0, "{} did nothing", report.kind);
    }
    let mut sorted: Vec<(u64, &str)> = pauses.into_values().collect();
    sorted.sort_unstable();
    let (median, worst) = (sorted[sorted.len() / 2].0 / 1000, sorted[sorted.len() - 1]);
    println!("{} kills, longest pauses: median {median} ms, worst {} ms ({})", kills.len(), worst.0 / 1000, worst.1);
    let longest = reports.iter().flat_map(|r| &r.slow).map(|(begin, end, _)| end - begin).max().unwrap_or(0);
    println!("longest operation at all: {} ms", longest / 1000);
    // Beside other tests, and beside compilers, a process waits for its turn as well.
    let is_measured = number("DEPSFS_CRASH_KILLS").is_some() && !builds::are_wanted();
    let (most, worst_of_all) = if is_measured { (250, 1_000_000) } else { (2_500, 10_000_000) };
    let (most, worst_of_all) = (most * u64::from(slower()), worst_of_all * u64::from(slower()));
    assert!(median < most && worst.0 < worst_of_all && longest < worst_of_all, "{sorted:?}");
}
