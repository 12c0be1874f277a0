//! Archives that want more memory, time or depth than an archive is allowed: each is refused, soon, and in little room.
//!
//! The table is tried by a process of its own, whose memory is measured.

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use depsfs::store::import::{ArchiveLimits, ImportError, Refused, import_archive};

use super::{Case, Raw, gz};

/// A name for messages, the file's name, its bytes, and the refusals that are right.
type Bad = (String, &'static str, Vec<u8>, &'static [&'static str]);

/// The most that each may take: the limit on the tree, what is in flight, and the decompressors.
const PEAK: u64 = 192 << 20;
const LONGEST: Duration = Duration::from_secs(60);

fn limits() -> ArchiveLimits {
    ArchiveLimits { memory: 16 << 20, ..ArchiveLimits::default() }
}

fn kind(why: &Refused) -> &'static str {
    match why {
        Refused::Truncated => "truncated",
        Refused::Corrupt(_) => "corrupt",
        Refused::Name(_) => "name",
        Refused::LinkMissing { .. } => "link",
        Refused::Device(_) => "device",
        Refused::Bytes(_) => "bytes",
        Refused::Members(_) => "members",
        Refused::Memory(_) => "memory",
        Refused::Depth { .. } => "depth",
        _ => "other",
    }
}

fn octal(n: u64) -> Vec<u8> {
    match n >> 33 {
        0 => format!("{n:011o}\0").into_bytes(),
        // More than 11 digits: base 256.
        _ => [&[0x80, 0, 0, 0][..], &n.to_be_bytes()].concat(),
    }
}

/// A size of 64 bits, in base 256.
fn big(size: u64) -> impl FnOnce(&mut [u8; 512]) {
    move |block| {
        block[124] = 0x80;
        block[125..128].fill(0);
        block[128..136].copy_from_slice(&size.to_be_bytes());
    }
}

/// One file, sparse in the way of PAX 1.0, with this map.
fn map_1_0(real: &str, map: &[u8]) -> Vec<u8> {
    let records = [
        ("GNU.sparse.major", &b"1"[..]),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"f"),
        ("GNU.sparse.realsize", real.as_bytes()),
    ];
    Raw::default().pax(&records).file("x", map).end()
}

/// One in the way of PAX 0.1.
fn map_0_1(real: &str, map: &str, data: &[u8]) -> Vec<u8> {
    let records = [("GNU.sparse.map", map.as_bytes()), ("GNU.sparse.size", real.as_bytes())];
    Raw::default().pax(&records).file("x", data).end()
}

/// One in GNU's own way, with so many more blocks of map.
fn gnu_sparse(real: u64, blocks: usize) -> Vec<u8> {
    let head = |block: &mut [u8; 512]| {
        block[257..265].copy_from_slice(b"ustar  \0");
        block[482] = u8::from(blocks > 0);
        block[483..495].copy_from_slice(&octal(real));
    };
    let mut raw = Raw::default().header(b'S', b"gnu", b"", 0, head);
    for n in 0..blocks {
        let mut block = [0u8; 512];
        for pair in 0..21 {
            block[pair * 24..pair * 24 + 12].copy_from_slice(&octal(1));
            block[pair * 24 + 12..pair * 24 + 24].copy_from_slice(&octal(0));
        }
        block[504] = u8::from(n + 1 < blocks);
        raw = raw.data(&block);
    }
    raw.end()
}

/// A gzip file of what `fill` writes, piece by piece.
fn packed(fill: impl FnOnce(&mut dyn FnMut(Raw))) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    fill(&mut |raw| out.write_all(&raw.0).unwrap());
    out.write_all(&[0; 1024]).unwrap();
    out.finish().unwrap()
}

fn deep(n: usize, depth: usize) -> String {
    format!("{n}/{}f", "d/".repeat(depth))
}

/// A long name as GNU tar has it.
fn long(kind: u8, text: &[u8]) -> Raw {
    Raw::default().header(kind, b"././@LongLink", b"", text.len() as u64, |_| ()).data(text)
}

fn records(count: usize, len: usize) -> Vec<(String, Vec<u8>)> {
    (0..count).map(|n| (format!("SCHILY.xattr.user.{n}"), vec![b'v'; len])).collect()
}

fn pax_of(kind: u8, records: &[(String, Vec<u8>)]) -> Raw {
    let with: Vec<(&str, &[u8])> = records.iter().map(|(key, value)| (key.as_str(), value.as_slice())).collect();
    let mut raw = Raw::default().pax(&with);
    raw.0[156] = kind;
    // Its checksum again.
    raw.0[148..156].fill(b' ');
    let sum: u32 = raw.0[..512].iter().map(|b| u32::from(*b)).sum();
    raw.0[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    raw
}

const CORRUPT: &[&str] = &["corrupt"];

fn sparse_maps() -> Vec<Bad> {
    let ones = vec![b'1'; 200 << 10];
    let many = |count: u64| [format!("{count}\n").into_bytes(), b"0\n0\n".repeat(1000)].concat();
    let zeros = "0,0,".repeat(200_000);
    let maps: Vec<(&str, Vec<u8>)> = vec![
        ("a map without a line end", map_1_0("10", &ones)),
        ("a number of 21 digits", map_1_0("10", &[b'1'; 1024])),
        ("a number of leading zeros", map_1_0("10", &[b'0'; 4096])),
        ("a count of 2^19+1", map_1_0("10", &many((1 << 19) + 1))),
        ("a count of 2^64-1", map_1_0("10", b"18446744073709551615\n")),
        ("a count that is more than there is", map_1_0("10", b"1000\n1\n1\n")),
        ("a map of empty lines", map_1_0("10", &[b'\n'; 512])),
        ("a map of letters", map_1_0("10", &[b'x'; 512])),
        ("stretches that overlap", map_0_1("1024", "0,512,100,512", &[1; 1024])),
        ("stretches in no order", map_0_1("1024", "512,512,0,512", &[1; 1024])),
        ("a stretch behind the end", map_0_1("1024", "1024,512", &[1; 512])),
        ("a stretch whose end is 2^64", map_0_1("1024", "18446744073709551615,512", &[1; 512])),
        (
            "stretches whose sum is 2^64",
            map_0_1("18446744073709551615", "0,9223372036854775808,9223372036854775808,9223372036854775807", &[1; 512]),
        ),
        ("half a stretch", map_0_1("1024", "0,512,1", &[1; 1024])),
        ("a map of 400,000 numbers", map_0_1("1024", zeros.trim_end_matches(','), &[1; 512])),
        ("25,000 blocks of map", gnu_sparse(1024, 25_000)),
    ];
    let mut all: Vec<Bad> = maps.into_iter().map(|(what, bytes)| (what.into(), "a.tar", bytes, CORRUPT)).collect();
    let whole = |real: u64, count: usize| {
        packed(|add| {
            for n in 0..count {
                let real = real.to_string();
                let records = [("GNU.sparse.map", &b"0,512"[..]), ("GNU.sparse.size", real.as_bytes())];
                add(Raw::default().pax(&records).file(&format!("{n}"), &[1; 512]));
            }
        })
    };
    all.push(("a hole of 2^62 bytes".into(), "a.tar.gz", whole(1 << 62, 1), &["bytes"]));
    all.push(("a hole of 2^63-1 bytes".into(), "a.tar.gz", whole((1 << 63) - 1, 1), &["bytes"]));
    all.push(("holes whose sum is 2^64".into(), "a.tar.gz", whole(1 << 62, 4), &["bytes"]));
    all.push(("a hole of 65 GiB in GNU's way".into(), "a.tar", gnu_sparse(65 << 30, 0), &["bytes"]));
    all
}

fn headers() -> Vec<Bad> {
    let mut all: Vec<Bad> = Vec::new();
    for (kind, what) in [(b'L', "name"), (b'K', "target"), (b'x', "PAX header"), (b'g', "global PAX header")] {
        for size in [(1 << 20) + 1, 1 << 33, 1 << 62, u64::MAX >> 1, 1 << 63] {
            let raw = Raw::default().header(kind, b"h", b"", 0, big(size)).data(&[b'x'; 4096]);
            all.push((format!("a {what} of {size} bytes"), "a.tar", raw.end(), CORRUPT));
        }
    }
    let half = vec![b'a'; 600 << 10];
    let value = vec![b'v'; 300 << 10];
    let long_record = [("comment".to_owned(), value)];
    let thousands = |kind: u8| {
        packed(|add| {
            let raw = pax_of(kind, &long_record).0;
            (0..20).for_each(|_| add(Raw(raw.clone())));
            add(Raw::default().file("f", b"x"));
        })
    };
    all.push(("20 PAX headers of 300 KB for one member".into(), "a.tar.gz", thousands(b'x'), CORRUPT));
    all.push(("20 global PAX headers of 300 KB".into(), "a.tar.gz", thousands(b'g'), CORRUPT));
    let names = packed(|add| (0..20).for_each(|_| add(long(b'L', &half))));
    all.push(("20 long names of 600 KB for one member".into(), "a.tar.gz", names, CORRUPT));
    let both = [long(b'L', &half).0, long(b'K', &half).0, Raw::default().file("f", b"").end()].concat();
    all.push(("a long name and a long target".into(), "a.tar", both, CORRUPT));
    let global = packed(|add| {
        let raw = pax_of(b'g', &records(1000, 10)).0;
        (0..150).for_each(|_| add(Raw(raw.clone())));
        (0..2000).for_each(|n| add(Raw::default().file(&format!("{n}"), b"")));
    });
    all.push(("150,000 global records and 2,000 members".into(), "a.tar.gz", global, CORRUPT));
    let shared = packed(|add| {
        add(pax_of(b'g', &records(10_000, 1)));
        (0..2000).for_each(|n| add(Raw::default().file(&format!("{n}"), b"")));
    });
    all.push(("10,000 attributes for each of 2,000 members".into(), "a.tar.gz", shared, &["memory"]));
    let own = packed(|add| {
        let raw = pax_of(b'x', &records(15, 60_000)).0;
        (0..30).for_each(|n| {
            add(Raw(raw.clone()));
            add(Raw::default().file(&format!("{n}"), b""));
        });
    });
    all.push(("900 KB of attributes for each of 30 members".into(), "a.tar.gz", own, &["memory"]));
    for (what, text) in [
        ("of 2^40 bytes", &b"1099511627776 a=b\n"[..]),
        ("of 0 bytes", b"0 a=b\n"),
        ("without a length", b" a=b\n"),
        ("with a length of 30 digits", b"111111111111111111111111111111 a=b\n"),
    ] {
        let raw = Raw::default().header(b'x', b"pax", b"", text.len() as u64, |_| ()).data(text);
        all.push((format!("a PAX record {what}"), "a.tar", raw.file("f", b"").end(), CORRUPT));
    }
    all
}

fn names() -> Vec<Bad> {
    let mut all: Vec<Bad> = Vec::new();
    let letters = vec![b'a'; 1 << 20];
    let slashes = b"a/".repeat(1 << 19);
    let after = |head: Raw, kind: u8| [head.0, Raw::default().add(kind, "l", "t").end()].concat();
    all.push(("a name of 1 MiB".into(), "a.tar", after(long(b'L', &letters), b'0'), &["name"]));
    all.push(("500,000 directories in one name".into(), "a.tar", after(long(b'L', &slashes), b'0'), &["depth"]));
    all.push(("a symlink to 1 MiB".into(), "a.tar", after(long(b'K', &letters), b'2'), &["name"]));
    all.push(("a hard link to 1 MiB".into(), "a.tar", after(long(b'K', &letters), b'1'), &["name"]));
    all.push(("a hard link 500,000 deep".into(), "a.tar", after(long(b'K', &slashes), b'1'), &["depth"]));
    let path = |path: &[u8]| Raw::default().pax(&[("path", path)]).file("f", b"").end();
    all.push(("a name of 1,001 directories".into(), "a.tar", path(deep(0, 1000).as_bytes()), &["depth"]));
    all.push(("a PAX name of 900 KB".into(), "a.tar", path(&letters[..900_000]), &["name"]));
    let implied = packed(|add| {
        for n in 0..100 {
            add(Raw::default().pax(&[("path", deep(n, 900).as_bytes())]).file("f", b""));
        }
    });
    all.push(("100 members 900 directories deep".into(), "a.tar.gz", implied, &["memory"]));
    let wide = packed(|add| (0..20_000).for_each(|n| add(Raw::default().add(b'5', &format!("{n}"), ""))));
    all.push(("20,000 directories where there is room for fewer".into(), "a.tar.gz", wide, &["memory"]));
    let targets = packed(|add| {
        let target = long(b'K', &letters[..4000]).0;
        for n in 0..3000 {
            add(Raw(target.clone()));
            add(Raw::default().add(b'2', &format!("{n}"), "t"));
        }
    });
    all.push(("3,000 symlinks of 4,000 bytes".into(), "a.tar.gz", targets, &["memory"]));
    let chain = packed(|add| {
        add(Raw::default().file("0", b"x"));
        (1..20_000).for_each(|n| add(Raw::default().add(b'1', &format!("{n}"), &format!("{}", n - 1))));
        add(Raw::default().add(b'1', "last", "nowhere"));
    });
    all.push(("a chain of 20,000 hard links that leads nowhere".into(), "a.tar.gz", chain, &["link"]));
    let links = packed(|add| {
        add(Raw::default().file("0", b"x"));
        (1..110_000).for_each(|n| add(Raw::default().add(b'1', &format!("{n}"), "0")));
    });
    all.push(("110,000 hard links where there is room for fewer".into(), "a.tar.gz", links, &["memory"]));
    all
}

fn streams() -> Vec<Bad> {
    let mut all: Vec<Bad> = Vec::new();
    for (kind, what) in [(b'5', "directory"), (b'2', "symlink"), (b'6', "fifo"), (b'0', "file"), (b'3', "device")] {
        let raw = Raw::default().header(kind, b"m", b"t", 0, big(1 << 60)).data(b"x");
        let right: &[&str] = if kind == b'0' { &["bytes"] } else { &["truncated", "corrupt", "device"] };
        all.push((format!("a {what} of 2^60 bytes"), "a.tar", raw.end(), right));
    }
    let whole = Raw::default().file("f", &[7; 100_000]).end();
    let mut cut = gz(&whole);
    cut.truncate(cut.len() - 9);
    all.push(("a gzip file that ends early".into(), "a.tar.gz", cut, &["truncated", "corrupt"]));
    // RFC 8878: a frame whose window descriptor asks for 2^31 bytes.
    let window = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3][..], &[0x01, 0x00, 0x00]].concat();
    all.push(("a zstd window of 2^31 bytes".into(), "a.zst", window, &["corrupt"]));
    all
}

fn table() -> Vec<Bad> {
    [sparse_maps(), headers(), names(), streams()].concat()
}

/// The most memory that this process ever had.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn archives_that_want_too_much_memory_time_or_depth_are_refused_within_bounds() {
    if std::env::var_os("DEPSFS_TEST_BAD_ARCHIVES").is_some() {
        return try_all();
    }
    let name = "bad::archives_that_want_too_much_memory_time_or_depth_are_refused_within_bounds";
    let mut child = Command::new(std::env::current_exe().unwrap());
    let done = child.args(["--exact", name, "--nocapture"]).env("DEPSFS_TEST_BAD_ARCHIVES", "1").output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("bad archives, each refused"), "{said}");
}

fn try_all() {
    let case = Case::new();
    let files: Vec<_> = table()
        .into_iter()
        .enumerate()
        .map(|(n, (what, suffix, bytes, right))| (what, case.file(&format!("{n}-{suffix}"), &bytes), right))
        .collect();
    // The memory for making them doesn't count.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let base = peak();
    for (what, path, right) in &files {
        let begin = Instant::now();
        let why = match import_archive(&case.store, path, &limits(), &()) {
            Err(ImportError::Refused { why, .. }) => why,
            other => panic!("{what}: {other:?}"),
        };
        assert!(right.contains(&kind(&why)), "{what}: {why}");
        assert!(why.to_string().len() < 4096, "{what}: a message of {} bytes", why.to_string().len());
        assert!(begin.elapsed() < LONGEST, "{what} took {:?}", begin.elapsed());
        assert!(peak() < base + PEAK, "{what}: {} MiB", peak() >> 20);
    }
    assert!(files.len() >= 50);
    println!("{} bad archives, each refused; {} MiB at most", files.len(), peak().saturating_sub(base) >> 20);
}
