//! The load of `scripts/bench.sh`: each operation is nothing but its system calls, timed from within.
//!
//! Prints `<wall ns> <cpu ns of this process> <how many>`. Paths are relative to the working directory; a LIST is a
//! file of one path a line, read before the clock starts. A rename across devices exits with 18, as EXDEV.
//!
//! | call              | what is timed                                              |
//! |-------------------|------------------------------------------------------------|
//! | `walk`            | every directory listed, every name in it lstat'ed          |
//! | `walkers N`       | the same by N threads at once, each all of it              |
//! | `lstat LIST`      | lstat of each                                              |
//! | `missing LIST`    | the same, each must answer ENOENT                          |
//! | `read LIST`       | open, read to the end, close of each                       |
//! | `readers N LIST`  | the same, by N threads, each with its share of LIST        |
//! | `seq FILE`        | one pass in pieces of 1 MiB                                |
//! | `rand FILE N`     | N reads of 4 KiB at random places                          |
//! | `pieces FILE N`   | each piece of 64 KiB once, in random order, by N threads   |
//! | `make DIR N`      | N files of 100 bytes in ten new directories                |
//! | `unlink LIST`     | unlink of each                                             |
//! | `rename A B`, `chmod FILE`, `append FILE` | one call (append: open, write, close) |
//! | `digest`          | nothing: prints a hash of all names, metadata and bytes below |

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Instant;

#[repr(C)]
struct Timespec {
    sec: i64,
    nsec: i64,
}

unsafe extern "C" {
    fn clock_gettime(clock: i32, to: *mut Timespec) -> i32;
}

/// The CPU time of this process so far, in nanoseconds.
fn cpu() -> i64 {
    let mut t = Timespec { sec: 0, nsec: 0 };
    // SAFETY: 2 is CLOCK_PROCESS_CPUTIME_ID, and `t` is a timespec of a 64-bit Linux.
    unsafe { clock_gettime(2, &mut t) };
    t.sec * 1_000_000_000 + t.nsec
}

type Outcome = std::io::Result<usize>;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if args == ["digest"] {
        let mut hash = DefaultHasher::new();
        let count = digest(Path::new("."), &mut hash).unwrap_or_else(|e| fail(&args, &e));
        println!("{:016x} {count}", hash.finish());
        return;
    }
    let list = match args[..] {
        ["lstat" | "missing" | "read" | "unlink", list] | ["readers", _, list] => fs::read_to_string(list).unwrap_or_else(|e| fail(&args, &e)),
        _ => String::new(),
    };
    let paths: Vec<&str> = list.lines().collect();
    let (cpu_before, before) = (cpu(), Instant::now());
    let done = run(&args, &paths);
    let (wall, cpu) = (before.elapsed().as_nanos(), cpu() - cpu_before);
    let count = done.unwrap_or_else(|e| fail(&args, &e));
    println!("{wall} {cpu} {count}");
}

fn fail(args: &[&str], e: &std::io::Error) -> ! {
    if e.raw_os_error() == Some(18) {
        std::process::exit(18);
    }
    eprintln!("ops {args:?}: {e}");
    std::process::exit(1)
}

fn run(args: &[&str], paths: &[&str]) -> Outcome {
    match *args {
        ["walk"] => walk(Path::new(".")),
        ["walkers", n] => walkers(n.parse().expect("a number of walkers")),
        ["lstat", _] => paths.iter().try_fold(0, |n, p| fs::symlink_metadata(p).map(|_| n + 1)),
        ["missing", _] => Ok(paths.iter().filter(|p| fs::symlink_metadata(p).is_err()).count()),
        ["read", _] => read(paths),
        ["readers", n, _] => readers(paths, n.parse().expect("a number of readers")),
        ["pieces", file, n] => pieces(file, n.parse().expect("a number of readers")),
        ["seq", file] => sequential(file),
        ["rand", file, n] => random(file, n.parse().expect("a number of reads")),
        ["make", dir, n] => make(dir, n.parse().expect("a number of files")),
        ["unlink", _] => paths.iter().try_fold(0, |n, p| fs::remove_file(p).map(|()| n + 1)),
        ["rename", from, to] => fs::rename(from, to).map(|()| 1),
        ["chmod", file] => fs::set_permissions(file, fs::Permissions::from_mode(0o600)).map(|()| 1),
        ["append", file] => fs::OpenOptions::new().append(true).open(file)?.write(b"x"),
        _ => panic!("unknown operation {args:?}"),
    }
}

fn walk(dir: &Path) -> Outcome {
    let mut count = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let stat = entry.metadata()?;
        count += 1;
        if stat.is_dir() {
            count += walk(&entry.path())?;
        }
    }
    Ok(count)
}

fn walkers(count: usize) -> Outcome {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(|| walk(Path::new(".")))).collect();
        threads.into_iter().map(|t| t.join().expect("no panic")).sum()
    })
}

fn read(paths: &[&str]) -> Outcome {
    let mut buffer = vec![0; 64 << 10];
    for path in paths {
        let mut file = fs::File::open(path)?;
        while file.read(&mut buffer)? > 0 {}
    }
    Ok(paths.len())
}

fn readers(paths: &[&str], count: usize) -> Outcome {
    std::thread::scope(|scope| {
        let share = paths.len().div_ceil(count).max(1);
        let threads: Vec<_> = paths.chunks(share).map(|share| scope.spawn(|| read(share))).collect();
        threads.into_iter().map(|t| t.join().expect("no panic")).sum()
    })
}

fn pieces(file: &str, readers: usize) -> Outcome {
    const PIECE: u64 = 64 << 10;
    let file = fs::File::open(file)?;
    let mut order: Vec<u64> = (0..file.metadata()?.len() / PIECE).collect();
    let mut state = 88_172_645_463_325_252_u64;
    for last in (1..order.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(last, (state % (last as u64 + 1)) as usize);
    }
    let read = |share: &[u64]| -> Outcome {
        let mut buffer = vec![0; PIECE as usize];
        share.iter().try_for_each(|piece| file.read_exact_at(&mut buffer, piece * PIECE))?;
        Ok(share.len())
    };
    std::thread::scope(|scope| {
        let share = order.len().div_ceil(readers).max(1);
        let threads: Vec<_> = order.chunks(share).map(|share| scope.spawn(move || read(share))).collect();
        threads.into_iter().map(|t| t.join().expect("no panic")).sum()
    })
}

fn sequential(file: &str) -> Outcome {
    let mut file = fs::File::open(file)?;
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(total),
            n => total += n,
        }
    }
}

fn random(file: &str, count: usize) -> Outcome {
    let file = fs::File::open(file)?;
    let pages = file.metadata()?.len() / 4096;
    let mut buffer = [0; 4096];
    let mut state = 88_172_645_463_325_252_u64;
    for _ in 0..count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.read_exact_at(&mut buffer, state % pages * 4096)?;
    }
    Ok(count)
}

fn make(dir: &str, count: usize) -> Outcome {
    fs::create_dir(dir)?;
    for d in 0..10 {
        let below = format!("{dir}/{d}");
        fs::create_dir(&below)?;
        for n in 0..count / 10 {
            fs::write(format!("{below}/file{n}"), [b'x'; 100])?;
        }
    }
    Ok(count)
}

/// Names in order, types, permissions, sizes, link targets, times to the nanosecond, and every byte. Directories' times and
/// sizes are their file system's own matter.
fn digest(dir: &Path, hash: &mut DefaultHasher) -> Outcome {
    let mut entries = fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut buffer = vec![0; 256 << 10];
    let mut count = 0;
    for entry in entries {
        let (path, stat) = (entry.path(), entry.metadata()?);
        count += 1;
        hash.write(path.as_os_str().as_bytes());
        hash.write_u32(stat.mode());
        if stat.is_dir() {
            count += digest(&path, hash)?;
        } else if stat.is_symlink() {
            hash.write(fs::read_link(&path)?.as_os_str().as_bytes());
        } else {
            hash.write_i64(stat.mtime());
            hash.write_i64(stat.mtime_nsec());
            hash.write_u64(stat.len());
            let mut file = fs::File::open(&path)?;
            loop {
                let n = file.read(&mut buffer)?;
                if n == 0 {
                    break;
                }
                hash.write(&buffer[..n]);
            }
        }
    }
    Ok(count)
}
