//! The client of the fetcher's socket, against a stand-in that listens there.

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use depsfs::store::{ObjectId, Unanswered, demand};

const LONG: Duration = Duration::from_secs(60);

/// A directory with a path longer than a socket's address, and the socket in it.
fn store() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s".repeat(120));
    fs::create_dir_all(store.join("fetcher")).unwrap();
    fs::set_permissions(store.join("fetcher"), fs::Permissions::from_mode(0o700)).unwrap();
    let socket = store.join("fetcher/socket");
    (dir, store, socket)
}

fn listen(socket: &std::path::Path) -> UnixListener {
    // By a short way to the same place.
    let short = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(socket.parent().unwrap(), short.path().join("l")).unwrap();
    UnixListener::bind(short.path().join("l/socket")).unwrap()
}

fn request(connection: &UnixStream) -> String {
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line).unwrap();
    line
}

fn soon() -> Instant {
    Instant::now() + LONG
}

#[test]
fn an_object_is_demanded_by_one_line_and_answered_by_one() {
    let (_dir, store, socket) = store();
    let listener = listen(&socket);
    let id = ObjectId::of(b"object");
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| demand(&store, &id, soon(), &|| false));
        let (mut connection, _) = listener.accept().unwrap();
        assert_eq!(request(&connection), format!("need 1 {id}\n"));
        // An answer to another request, and one in pieces.
        connection.write_all(b"here 7\nabsent 8 gone\nhe").unwrap();
        connection.write_all(b"re 1\n").unwrap();
        asked.join().unwrap().unwrap();

        let asked = scope.spawn(|| demand(&store, &id, soon(), &|| false));
        let (mut connection, _) = listener.accept().unwrap();
        request(&connection);
        connection.write_all(b"absent 1 the server said \x1b[31mno\n").unwrap();
        let why = asked.join().unwrap().unwrap_err();
        assert!(matches!(why, Unanswered::Refused(_)), "{why}");
        assert!(why.to_string().starts_with("the server said ") && !why.to_string().contains('\x1b'), "{why}");
    });
}

#[test]
fn a_fetcher_that_died_is_asked_again_by_another_connection() {
    let (_dir, store, socket) = store();
    let listener = listen(&socket);
    let id = ObjectId::of(b"object");
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| demand(&store, &id, soon(), &|| false));
        let (connection, _) = listener.accept().unwrap();
        request(&connection);
        drop(connection);
        let (mut again, _) = listener.accept().unwrap();
        assert_eq!(request(&again), format!("need 1 {id}\n"));
        again.write_all(b"here 1\n").unwrap();
        asked.join().unwrap().unwrap();
    });
}

#[test]
fn an_answer_is_waited_for_as_long_as_the_fetcher_has_announced() {
    let (_dir, store, socket) = store();
    let listener = listen(&socket);
    let id = ObjectId::of(b"object");
    std::thread::scope(|scope| {
        let begun = Instant::now();
        let asked = scope.spawn(move || demand(&store, &id, begun + LONG / 20, &|| false));
        let (mut connection, _) = listener.accept().unwrap();
        request(&connection);
        connection.write_all(b"wait 7 1\nwait 1 60000\n").unwrap();
        std::thread::sleep((LONG / 20 + Duration::from_millis(300)).saturating_sub(begun.elapsed()));
        connection.write_all(b"here 1\n").unwrap();
        asked.join().unwrap().unwrap();
    });
    // And no longer than that.
    let (_dir, store, socket) = self::store();
    let listener = listen(&socket);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| demand(&store, &id, soon(), &|| false));
        let (mut connection, _) = listener.accept().unwrap();
        request(&connection);
        connection.write_all(b"wait 1 100\n").unwrap();
        let late = asked.join().unwrap();
        assert!(matches!(late, Err(Unanswered::Late(_))), "{late:?}");
    });
}

#[test]
fn the_waiting_ends_in_time_and_by_an_interrupt() {
    let (_dir, store, socket) = store();
    let listener = listen(&socket);
    let id = ObjectId::of(b"object");
    let began = Instant::now();
    let late = demand(&store, &id, Instant::now() + Duration::from_millis(300), &|| false);
    assert!(matches!(late, Err(Unanswered::Late(_))), "{late:?}");
    assert!(began.elapsed() >= Duration::from_millis(300));
    let looks = Cell::new(0);
    let interrupted = demand(&store, &id, soon(), &|| {
        looks.set(looks.get() + 1);
        looks.get() > 3
    });
    assert!(matches!(interrupted, Err(Unanswered::Interrupted)), "{interrupted:?}");
    drop(listener);
}
