//! `depsfs cache`: where artifacts come from and go to, as the contract of ci3's `cache_download` and `cache_upload` has
//! it: exit codes, words, variables.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use crate::bench::{Bench, PROGRAM, Said, run};
use crate::web::{Answer, Web};

const NAME: &str = "noir-0123456789abcdef.tar.gz";

/// Runs `depsfs cache` in a directory that is in no git checkout.
fn cache(bench: &Bench, args: &[&str], set: &[(&str, &str)]) -> Said {
    fs::create_dir_all(bench.path("plain")).unwrap();
    let said = run(command(bench, "plain", args, set));
    assert_eq!(said.out, "", "stdout stays empty");
    said
}

fn command<'a>(bench: &Bench, at: &str, args: &[&str], set: &[(&'a str, &'a str)]) -> &'a mut Command {
    let mut command = bench.command(PROGRAM, at);
    command.arg("cache").args(args).envs(set.iter().copied());
    Box::leak(Box::new(command))
}

/// A tarball of a directory's members, made by tar itself.
fn tarball(bench: &Bench, from: &str, members: &[&str], how: &[&str]) -> Vec<u8> {
    let made = bench.command("tar", from).args(["-c"]).args(how).args(members).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    made.stdout
}

/// The usual one: `dest/a` and an executable `dest/sub/b`.
fn usual(bench: &Bench) -> Vec<u8> {
    bench.write("made/dest/a", "a\n");
    bench.write("made/dest/sub/b", "b\n");
    fs::set_permissions(bench.path("made/dest/sub/b"), fs::Permissions::from_mode(0o755)).unwrap();
    tarball(bench, "made", &["dest"], &["-z"])
}

/// Names in the directories that must not fill up.
fn left(bench: &Bench) -> Vec<String> {
    let names = |at: &str| fs::read_dir(bench.path(at)).into_iter().flatten().map(|e| e.unwrap().file_name());
    let all = names("store/tmp").chain(names("local")).map(|n| n.to_str().unwrap().to_owned());
    all.filter(|n| n != NAME).collect()
}

#[test]
fn a_disabled_or_forbidden_cache_is_a_miss_and_nothing_is_asked() {
    let (bench, web) = (Bench::new(), Web::start());
    let disabled = "noir-disabled-cache.tar.gz";
    web.lay(&format!("/artifacts/{disabled}"), &[Answer::Whole(usual(&bench))]);
    web.lay(&format!("/artifacts/{NAME}"), &[Answer::Whole(usual(&bench))]);
    let server = ("CI3_SERVER", web.url.as_str());
    for verb in ["get", "exists"] {
        assert_eq!(cache(&bench, &[verb, disabled], &[server]).code, 1);
        assert_eq!(cache(&bench, &[verb, NAME], &[server, ("NO_CACHE", "1")]).code, 1);
    }
    assert_eq!(web.asked(), Vec::<String>::new());
    assert_eq!(cache(&bench, &["get", NAME], &[server, ("NO_CACHE", "0")]).code, 0);
    assert_eq!(cache(&bench, &["get", NAME], &[server, ("NO_CACHE", "1")]).code, 1);
}

#[test]
fn a_miss_is_exit_code_1_with_words_and_leaves_nothing() {
    let (bench, web) = (Bench::new(), Web::start());
    let local = bench.path("local");
    let set = [("CI3_SERVER", web.url.as_str()), ("CACHE_LOCAL_DIR", local.to_str().unwrap())];
    let said = cache(&bench, &["get", NAME], &set);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains(&format!("Local cache miss for {NAME}, downloading from remote.")), "{said:?}");
    assert_eq!(web.asked(), [format!("GET /artifacts/{NAME}")]);
    assert_eq!(left(&bench), Vec::<String>::new());
    assert_eq!(cache(&bench, &["get", NAME], &[]).code, 1);
}

#[test]
fn an_artifact_is_downloaded_once_and_kept_in_the_local_directory() {
    let (bench, web) = (Bench::new(), Web::start());
    let bytes = usual(&bench);
    web.lay(&format!("/artifacts/{NAME}"), &[Answer::Whole(bytes.clone())]);
    let local = bench.path("local/deep");
    let set = [("CI3_SERVER", web.url.as_str()), ("CACHE_LOCAL_DIR", local.to_str().unwrap())];
    let said = cache(&bench, &["get", NAME, "out"], &set);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains(&format!("Local cache miss for {NAME}, downloading from remote.")), "{said:?}");
    assert_eq!(fs::read(local.join(NAME)).unwrap(), bytes);
    assert_eq!((bench.read("plain/out/dest/a"), bench.read("plain/out/dest/sub/b")), ("a\n".into(), "b\n".into()));
    let mode = fs::metadata(bench.path("plain/out/dest/sub/b")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    let said = cache(&bench, &["get", NAME], &set);
    assert_eq!((said.code, said.err.trim()), (0, &*format!("Local cache hit for {NAME}.")));
    assert_eq!(bench.read("plain/dest/a"), "a\n");
    assert_eq!(web.asked().len(), 1);
    // Another machine's store, the same directory of tarballs, no network.
    let other = bench.path("other-store");
    let said = cache(&bench, &["get", NAME, "again"], &[set[1], ("DEPSFS_STORE", other.to_str().unwrap())]);
    assert_eq!((said.code, said.err.trim()), (0, &*format!("Local cache hit for {NAME}.")));
    assert_eq!(bench.read("plain/again/dest/a"), "a\n");
}

#[test]
fn broken_connections_and_a_server_that_stumbles_are_tried_again() {
    let (bench, web) = (Bench::new(), Web::start());
    let bytes = usual(&bench);
    let path = format!("/artifacts/{NAME}");
    let local = bench.path("local");
    let stumbles: [&[Answer]; 4] = [
        &[Answer::Half(bytes.clone()), Answer::HalfUntold(bytes.clone()), Answer::Whole(bytes.clone())],
        &[Answer::Status(500), Answer::Status(503), Answer::Whole(bytes.clone())],
        &[Answer::Nothing, Answer::Whole(bytes.clone())],
        &[Answer::HalfUntold(bytes.clone()), Answer::Whole(bytes.clone())],
    ];
    for (round, answers) in stumbles.iter().enumerate() {
        web.lay(&path, answers);
        let store = bench.path(&format!("store-{round}"));
        let _ = fs::remove_dir_all(&local);
        let set = [
            ("CI3_SERVER", web.url.as_str()),
            ("CACHE_LOCAL_DIR", local.to_str().unwrap()),
            ("DEPSFS_STORE", store.to_str().unwrap()),
        ];
        let said = cache(&bench, &["get", NAME, "out"], &set);
        assert_eq!(said.code, 0, "{round}: {said:?}");
        assert!(said.err.contains("trying again"), "{round}: {said:?}");
        assert_eq!(web.asked().len(), answers.len(), "{round}");
        assert_eq!(fs::read(local.join(NAME)).unwrap(), bytes);
        assert_eq!(left(&bench), Vec::<String>::new());
    }
}

#[test]
fn a_server_that_stays_broken_and_an_answer_that_is_no_archive_are_misses() {
    let (bench, web) = (Bench::new(), Web::start());
    let bytes = usual(&bench);
    let path = format!("/artifacts/{NAME}");
    let local = bench.path("local");
    let set = [("CI3_SERVER", web.url.as_str()), ("CACHE_LOCAL_DIR", local.to_str().unwrap())];
    for (answer, tries) in [
        (Answer::Half(bytes.clone()), 4),
        (Answer::Status(500), 4),
        (Answer::Status(403), 1),
        (Answer::Whole(b"<html>no</html>".to_vec()), 1),
        (Answer::Whole(tarball(&bench, "made", &["../made/dest/a"], &["-z", "-P"])), 1),
    ] {
        web.lay(&path, &[answer]);
        let said = cache(&bench, &["get", NAME, "out"], &set);
        assert_eq!((said.code, web.asked().len()), (1, tries), "{said:?}");
        assert_eq!((left(&bench), bench.is_there("plain/out"), local.join(NAME).exists()), (vec![], false, false));
    }
    assert_eq!(bench.ok("", ["store", "list"]), "");
}

#[test]
fn a_partial_or_foreign_local_tarball_is_refused_whole_and_replaced_by_a_good_one() {
    let (bench, web) = (Bench::new(), Web::start());
    let bytes = usual(&bench);
    bench.write("local/x", "");
    let file = bench.path("local").join(NAME);
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let local = ("CACHE_LOCAL_DIR", bench.path("local").to_str().unwrap().to_owned());
    let local = (local.0, local.1.as_str());
    let said = cache(&bench, &["get", NAME, "out"], &[local]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("refused"), "{said:?}");
    assert!(!bench.is_there("plain/out"));
    web.lay(&format!("/artifacts/{NAME}"), &[Answer::Whole(bytes.clone())]);
    let said = cache(&bench, &["get", NAME, "out"], &[local, ("CI3_SERVER", &web.url)]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(fs::read(&file).unwrap(), bytes);
    assert_eq!(bench.read("plain/out/dest/a"), "a\n");
}

#[test]
fn an_uncreatable_local_directory_is_a_warning() {
    let (bench, web) = (Bench::new(), Web::start());
    web.lay(&format!("/artifacts/{NAME}"), &[Answer::Whole(usual(&bench))]);
    bench.write("file", "");
    let local = bench.path("file/below");
    let set = [("CI3_SERVER", web.url.as_str()), ("CACHE_LOCAL_DIR", local.to_str().unwrap())];
    let said = cache(&bench, &["get", NAME], &set);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("Warning"), "{said:?}");
    assert_eq!(bench.read("plain/dest/a"), "a\n");
    let said = cache(&bench, &["put", NAME, "dest"], &set[1..]);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn one_download_serves_all_who_wait_and_leaves_no_lock_or_temporary() {
    let (bench, web) = (Bench::new(), Web::start());
    web.lay(&format!("/artifacts/{NAME}"), &[Answer::Late(usual(&bench), Duration::from_millis(300))]);
    let local = bench.path("local");
    let set = [("CI3_SERVER", web.url.as_str()), ("CACHE_LOCAL_DIR", local.to_str().unwrap())];
    let commands: Vec<_> = (0..6)
        .map(|n| {
            let at = format!("six/{n}");
            fs::create_dir_all(bench.path(&at)).unwrap();
            command(&bench, &at, &["get", NAME], &set)
        })
        .collect();
    std::thread::scope(|scope| {
        for command in commands {
            scope.spawn(|| assert_eq!(run(command).code, 0));
        }
    });
    assert_eq!(web.asked().len(), 1);
    assert_eq!(left(&bench), Vec::<String>::new());
    assert_eq!(bench.ok("", ["store", "list"]).lines().count(), 1);
    (0..6).for_each(|n| assert_eq!(bench.read(&format!("six/{n}/dest/a")), "a\n"));
}

/// Puts a program into a directory that is then first in PATH; answers that PATH.
fn fake(bench: &Bench, program: &str, script: &str) -> String {
    bench.write(&format!("bin/{program}"), &format!("#!/bin/sh\n{script}"));
    fs::set_permissions(bench.path("bin").join(program), fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", bench.path("bin").display(), std::env::var("PATH").unwrap())
}

#[test]
fn aws_is_called_with_its_parameters_as_words() {
    let bench = Bench::new();
    bench.write("bucket/x", "");
    fs::write(bench.path("bucket").join(NAME), usual(&bench)).unwrap();
    let path = fake(
        &bench,
        "aws",
        r#"for a in "$@"; do echo "$a" >> "$HOME/args"; done
while [ "$1" != s3 ]; do shift; done
case "$2 $3" in
"cp s3://aztec-ci-artifacts/build-cache/"*) cat "$HOME/bucket/${3##*/}" ;;
"ls s3://aztec-ci-artifacts/build-cache/"*) ls "$HOME/bucket" | grep "^${3##*/}" | sed 's/^/2026-01-01 00:00:00 7 /' ;;
"cp "*) cp "$3" "$HOME/bucket/${4##*/}" ;;
esac
"#,
    );
    let set = [("PATH", path.as_str()), ("S3_BUILD_CACHE_AWS_PARAMS", " --profile build  --region\tx ")];
    assert_eq!(cache(&bench, &["exists", NAME], &set).code, 0);
    assert_eq!(cache(&bench, &["exists", "noir-0123456789abcdef.tar"], &set).code, 1);
    let said = cache(&bench, &["get", NAME], &set);
    assert_eq!(said.code, 0, "{said:?}");
    let args = bench.read("args");
    let place = format!("s3://aztec-ci-artifacts/build-cache/{NAME}");
    assert!(args.contains(&format!("--profile\nbuild\n--region\nx\ns3\ncp\n{place}\n-\n")), "{args}");
    let said = cache(&bench, &["put", "new-01.zst", "dest"], &[set[0], set[1], ("CI", "0")]);
    assert_eq!((said.code, bench.is_there("bucket/new-01.zst")), (0, false), "{said:?}");
    let said = cache(&bench, &["put", "new-01.zst", "dest"], &[set[0], set[1], ("CI", "1")]);
    assert_eq!((said.code, bench.is_there("bucket/new-01.zst")), (0, true), "{said:?}");
    let said = cache(&bench, &["get", "new-01.zst", "new"], &set);
    assert_eq!((said.code, bench.read("plain/new/dest/sub/b").as_str()), (0, "b\n"), "{said:?}");
}

#[test]
fn ssh_has_the_far_side_download() {
    let (bench, web) = (Bench::new(), Web::start());
    web.lay(&format!("/cache/{NAME}"), &[Answer::Half(usual(&bench)), Answer::Whole(usual(&bench))]);
    let path = fake(&bench, "ssh", "echo \"$1\" >> \"$HOME/hosts\"\nshift\nexec sh -c \"$*\"\n");
    let url = format!("{}/cache/", web.url);
    let set = [("PATH", path.as_str()), ("CACHE_SSH_HOST", "me@far"), ("DEPSFS_CACHE_URL", url.as_str())];
    assert_eq!(cache(&bench, &["exists", NAME], &set).code, 0);
    assert_eq!(cache(&bench, &["exists", "absent-01.zst"], &set).code, 1);
    let said = cache(&bench, &["get", NAME], &set);
    assert_eq!((said.code, bench.read("plain/dest/a").as_str()), (0, "a\n"), "{said:?}");
    assert_eq!(bench.read("hosts"), "me@far\n".repeat(4));
    assert_eq!(cache(&bench, &["get", "absent-01.zst"], &set).code, 1);
}

#[test]
fn a_password_in_a_url_is_neither_stored_nor_printed_nor_seen_by_other_users() {
    let (bench, web) = (Bench::new(), Web::start());
    web.lay(&format!("/artifacts/{NAME}"), &[Answer::Whole(usual(&bench))]);
    let real = run(bench.command("sh", "").args(["-c", "command -v curl"])).out;
    let script = format!("echo \"$@\" >> \"$HOME/args\"\nexec {} \"$@\"\n", real.trim());
    let path = fake(&bench, "curl", &script);
    let server = web.url.replace("://", "://ada:s3cr3tpw@");
    let set = [("PATH", path.as_str()), ("CI3_SERVER", server.as_str())];
    let mut all = String::new();
    for words in [["exists", NAME], ["get", "absent-01.zst"], ["get", NAME]] {
        let said = cache(&bench, &words, &set);
        all += &format!("{said:?}");
    }
    assert!(bench.is_there("plain/dest/a"), "{all}");
    let elsewhere = [set[0], ("CI3_SERVER", "http://ada:s3cr3tpw@no host.invalid:x")];
    all += &format!("{:?}", cache(&bench, &["get", "other-01.zst"], &elsewhere));
    all += &bench.ok("", ["store", "list"]);
    all += &bench.read("args");
    all += &run(bench.command("grep", "").args(["-ra", "s3cr3tpw", "store"])).out;
    assert!(!all.contains("s3cr3tpw"), "{all}");
    assert!(all.contains(&format!("{}/artifacts/{NAME}", web.url)), "{all}");
    // One that an earlier depsfs has stored is not printed either.
    let entry = format!("store/entries/{}", NAME.trim_end_matches(".tar.gz"));
    let text = bench.read(&entry).replace("http://", "http://ada:s3cr3tpw@");
    assert!(text.contains("s3cr3tpw"));
    bench.write(&entry, &text);
    let list = bench.ok("", ["store", "list"]);
    assert!(list.contains(&web.url) && !list.contains("s3cr3tpw"), "{list}");
}

#[test]
fn nothing_in_the_name_of_an_artifact_is_expanded_or_ends_the_url() {
    let (bench, web) = (Bench::new(), Web::start());
    let name = "{a,b}[1-2]?c#d%20.tar.gz";
    web.lay("/artifacts/%7Ba,b%7D%5B1-2%5D%3Fc%23d%2520.tar.gz", &[Answer::Whole(usual(&bench))]);
    let said = cache(&bench, &["get", name], &[("CI3_SERVER", web.url.as_str())]);
    assert_eq!((said.code, bench.read("plain/dest/a").as_str()), (0, "a\n"), "{said:?}");
    assert_eq!(web.asked().len(), 1);
    assert_eq!(cache(&bench, &["get", name], &[]).code, 0);
}

#[test]
fn a_host_that_is_an_option_of_ssh_is_refused() {
    let bench = Bench::new();
    let host = format!("-oProxyCommand=touch {}", bench.path("pwned").display());
    for words in [["get", NAME], ["exists", NAME]] {
        let said = cache(&bench, &words, &[("CACHE_SSH_HOST", &host)]);
        assert!(said.code == 1 && said.err.contains("is no host"), "{said:?}");
    }
    assert!(!bench.is_there("pwned"));
}

#[test]
fn the_endpoint_is_configured_by_a_variable_or_by_git() {
    let (bench, web) = (Bench::new(), Web::start());
    web.lay(&format!("/a/{NAME}"), &[Answer::Whole(usual(&bench))]);
    assert_eq!(run(command(&bench, "repo", &["exists", NAME], &[])).code, 1);
    bench.git("repo", ["config", "depsfs.cacheUrl", &format!("{}/a", web.url)]);
    assert_eq!(run(command(&bench, "repo", &["exists", NAME], &[])).code, 0);
    let elsewhere = format!("{}/b", web.url);
    assert_eq!(run(command(&bench, "repo", &["exists", NAME], &[("DEPSFS_CACHE_URL", &elsewhere)])).code, 1);
    web.without_head();
    assert_eq!(run(command(&bench, "repo", &["exists", NAME], &[])).code, 0);
}

#[test]
fn exists_looks_in_the_store_then_in_the_local_directory_then_asks_the_remote() {
    let (bench, web) = (Bench::new(), Web::start());
    let path = format!("/artifacts/{NAME}");
    web.lay(&path, &[Answer::Whole(usual(&bench))]);
    let server = ("CI3_SERVER", web.url.as_str());
    assert_eq!(cache(&bench, &["exists", NAME], &[server]).code, 0);
    assert_eq!(web.asked(), [format!("HEAD {path}")]);
    let file = bench.path("tarballs").join(NAME);
    bench.write("tarballs/x", "");
    fs::write(&file, usual(&bench)).unwrap();
    let local = bench.path("tarballs");
    let local = ("CACHE_LOCAL_DIR", local.to_str().unwrap());
    assert_eq!(cache(&bench, &["exists", NAME], &[server, local]).code, 0);
    assert_eq!(cache(&bench, &["get", NAME], &[local]).code, 0);
    fs::remove_file(&file).unwrap();
    assert_eq!(cache(&bench, &["exists", NAME], &[server, local]).code, 0);
    assert_eq!(web.asked(), Vec::<String>::new());
    assert_eq!(cache(&bench, &["exists", "other-01.zst"], &[server]).code, 1);
}

#[test]
fn what_is_put_comes_back_with_modes_times_and_links_and_the_same_bytes_twice() {
    let bench = Bench::new();
    usual(&bench);
    fs::create_dir_all(bench.path("plain/built/empty")).unwrap();
    let long = format!("built/{}/{}", "d".repeat(120), "f".repeat(120));
    for (at, text) in [("built/dest/a", "a\n"), ("built/run", "#!/bin/sh\n"), (&long, "long\n")] {
        bench.write(&format!("plain/{at}"), text);
    }
    let at = |name: &str| bench.path(&format!("plain/built/{name}"));
    fs::set_permissions(at("run"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::hard_link(at("run"), at("run2")).unwrap();
    std::os::unix::fs::symlink("../nowhere", at("link")).unwrap();
    let local = bench.path("local");
    let set = [("CACHE_LOCAL_DIR", local.to_str().unwrap()), ("CI", "0")];
    let before = crate::bench::metadata(&bench.path("plain/built"));
    for name in ["x-01.tar.gz", "x-01.zst", "x-01.tar"] {
        let said = cache(&bench, &["put", name, "./built/", "built/run"], &set);
        assert_eq!(said.code, 0, "{said:?}");
        let first = fs::read(local.join(name)).unwrap();
        assert_eq!(cache(&bench, &["put", name, "built"], &set).code, 0);
        assert!(fs::read(local.join(name)).unwrap() == first, "{name}: other bytes");
        let out = format!("back-{name}");
        let said = cache(&bench, &["get", name, &out], &set);
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(crate::bench::metadata(&bench.path(&format!("plain/{out}/built"))), before, "{name}");
        // tar itself reads it, too.
        fs::create_dir(bench.path(&format!("tar-{name}"))).unwrap();
        let tar = run(bench.command("tar", &format!("tar-{name}")).arg("-xf").arg(local.join(name)));
        assert_eq!((tar.code, tar.err.as_str()), (0, ""));
        assert_eq!(crate::bench::metadata(&bench.path(&format!("tar-{name}/built"))), before, "{name}");
    }
    assert_eq!(bench.ok("", ["store", "list"]).lines().count(), 3, "three suffixes, three artifacts");
}

#[test]
fn put_saves_nothing_where_there_is_nothing_to_save_to() {
    let bench = Bench::new();
    bench.write("file", "");
    let local = bench.path("local");
    let local = ("CACHE_LOCAL_DIR", local.to_str().unwrap());
    assert_eq!(cache(&bench, &["put", NAME, "not-there"], &[]).code, 0);
    assert_eq!(cache(&bench, &["put", NAME, "not-there"], &[local, ("NO_CACHE_UPLOAD", "1")]).code, 0);
    assert_eq!(cache(&bench, &["put", "x-disabled-cache.zst", "not-there"], &[local]).code, 0);
    for outside in ["not-there", "../file", "/etc/hostname"] {
        assert_eq!(cache(&bench, &["put", NAME, outside], &[local]).code, 1, "{outside}");
    }
    assert!(!bench.path("local").join(NAME).exists());
    assert_eq!(left(&bench), Vec::<String>::new());
    for bad in ["../x.tar.gz", "/x.tar.gz", ".x.zst"] {
        assert_eq!(cache(&bench, &["put", bad, "../file"], &[local]).code, 1, "{bad}");
        assert_eq!(cache(&bench, &["get", bad], &[local]).code, 1, "{bad}");
    }
}

#[test]
fn a_real_file_already_there_stays_and_is_told_of() {
    let bench = Bench::new();
    bench.write("tarballs/x", "");
    fs::write(bench.path("tarballs").join(NAME), usual(&bench)).unwrap();
    let local = bench.path("tarballs");
    let local = [("CACHE_LOCAL_DIR", local.to_str().unwrap())];
    bench.write("plain/dest/a", "mine\n");
    bench.write("elsewhere/b", "far\n");
    std::os::unix::fs::symlink("../../elsewhere", bench.path("plain/dest/sub")).unwrap();
    let said = cache(&bench, &["get", NAME], &local);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("dest/a") && said.err.contains("dest/sub"), "{said:?}");
    assert_eq!((bench.read("plain/dest/a"), bench.read("elsewhere/b")), ("mine\n".into(), "far\n".into()));
    fs::remove_file(bench.path("plain/dest/sub")).unwrap();
    bench.write("plain/dest/a", "a\n");
    let said = cache(&bench, &["get", NAME], &local);
    assert_eq!((said.code, said.err.trim()), (0, &*format!("Local cache hit for {NAME}.")));
    assert_eq!(bench.read("plain/dest/sub/b"), "b\n");
}
