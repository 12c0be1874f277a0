//! moto, a server that speaks S3, as `.ci/run` installs it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No start of the server takes longer, be the machine as busy as it may.
const START_TIMEOUT: Duration = Duration::from_secs(240);
/// No answer of the server takes longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A server that speaks S3, with an empty bucket `team`; it ends with the value.
pub struct Moto {
    child: Child,
    pub port: u16,
    _dir: tempfile::TempDir,
}

impl Moto {
    /// `None`: it is not installed.
    pub fn start() -> Option<Moto> {
        let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/moto");
        if !modules.join("moto").is_dir() {
            println!("skipped: a remote in a bucket, because moto is not installed (.ci/run installs it)");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut command = Command::new("python3");
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]).env("PYTHONPATH", modules);
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1").stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap()).spawn();
        let mut moto = Moto { child: child.unwrap(), port: 0, _dir: dir };
        let until = Instant::now() + START_TIMEOUT;
        // The kernel gives it a port that nobody else has, and its log has the number when it listens.
        while moto.port == 0 {
            let ended = moto.child.try_wait().unwrap();
            let text = fs::read_to_string(&log).unwrap();
            assert!(ended.is_none() && Instant::now() < until, "moto does not start ({ended:?}): {text}");
            let port = text.split_once("Running on http://127.0.0.1:").and_then(|(_, rest)| rest.split_once('\n'));
            moto.port = port.map_or(0, |(port, _)| port.trim().parse().unwrap());
            std::thread::sleep(Duration::from_millis(50));
        }
        let made = moto.request("PUT /team HTTP/1.1");
        assert!(made.starts_with("HTTP/1.1 200"), "{made}");
        Some(moto)
    }

    fn request(&self, line: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(ANSWER_TIMEOUT)).unwrap();
        write!(stream, "{line}\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Gives a command credentials that the server takes, and nothing of those of the one who runs the tests.
pub fn with_credentials(command: &mut Command) {
    command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "s3cr3t");
    for steers in ["AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        command.env_remove(steers);
    }
}
