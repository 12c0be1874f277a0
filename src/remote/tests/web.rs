//! A web server that has the objects of a remote, such as a CDN before its bucket.

use super::*;

/// The address of a web server with the files of the remote's directory.
fn serve(team: &TwoMachines) -> RemoteSpec {
    let root = team.dir.path().join("remote");
    let spec = server(move |stream| {
        let head = head(stream);
        let path = head.strip_prefix("get /x/").and_then(|rest| rest.split_once(' ')).map(|(path, _)| path);
        let Some(bytes) = path.and_then(|path| std::fs::read(root.join(path)).ok()) else {
            drop(stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
            return;
        };
        let range = head.lines().find_map(|line| line.strip_prefix("range: bytes=")?.split_once('-'));
        let (status, bytes) = match range {
            Some((from, to)) => {
                let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
                let status = format!("206 Partial Content\r\nContent-Range: bytes {from}-{to}/{}", bytes.len());
                (status, bytes[from..=to].to_vec())
            }
            None => ("200 OK".into(), bytes),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len());
        drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes)));
    });
    let url = format!("{}/x/", spec.endpoint.unwrap());
    RemoteSpec { name: "team".into(), url, read: vec!["main".into()], ..RemoteSpec::default() }
}

#[test]
fn a_web_server_with_the_objects_is_read_and_not_written() {
    let mut team = TwoMachines::new();
    let tree = team.tree(&[("a", b"a".to_vec()), ("large", vec![7; (8 << 20) + 1])]);
    team.push("main", "web", tree).unwrap();
    let spec = serve(&team);
    team.remote = OpenRemote::open(&spec).unwrap();
    let (received, said, _) = team.bring(&["other", "web"], &|_| {});
    assert_eq!((received.map(|received| received.tree), said), (Some(tree), Vec::new()));
    assert!(team.to.is_complete(tree).unwrap());
    let check = team.remote.check().unwrap();
    assert!(check.not_written.is_some_and(|why| why.contains("web server")));
    let other = team.tree(&[("b", b"b".to_vec())]);
    assert!(matches!(team.push("main", "other", other), Err(RemoteError::ReadOnly { .. })));
    assert!(matches!(OpenRemote::init(&spec, 90), Err(RemoteError::ReadOnly { .. })));
}
