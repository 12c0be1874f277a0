//! Signatures of entries: `ssh-keygen -Y`, with git's own file of allowed signers.
//!
//! The signed text holds the entry's line and place. The namespace is `depsfs`: a signature of a commit or of another
//! tool's file counts for nothing here.

use std::path::Path;
use std::time::Duration;

use super::RemoteError;
use crate::sys::invocation::Invocation;
use crate::sys::invocation::Sink;
use crate::sys::path as paths;
use crate::sys::reason;
use crate::sys::terminal::DisplayName;

const PROGRAM: &str = "ssh-keygen";
const NAMESPACE: &str = "depsfs";
/// How long it may take, with a question of an agent.
const TIMEOUT: Duration = Duration::from_secs(60);
const LONGEST_OUTPUT: usize = 64 << 10;

/// The signature of `text` by a private key, or by the agent that has it.
///
/// # Errors
/// [`RemoteError::Sign`]
pub fn sign(text: &[u8], key: &Path) -> Result<Vec<u8>, RemoteError> {
    let failed = |why: String| RemoteError::Sign { key: key.into(), why };
    let mut it = program();
    it.args(["-Y", "sign", "-n", NAMESPACE, "-f"]).arg(key).input(text.to_vec());
    let done = it.run().map_err(|e| failed(format!("cannot start {PROGRAM}: {}", reason(&e))))?;
    if !done.ended.is_success() || !done.stdout.starts_with(b"-----BEGIN SSH SIGNATURE-----") {
        return Err(failed(last_line(&done.stderr)));
    }
    Ok(done.stdout)
}

/// Whether `signature` is one of `text` by a signer that the file `signers` allows; who it is. `tmp` is a directory for a
/// temporary file.
///
/// # Errors
/// Why not, in words.
pub fn verify(text: &[u8], signature: &[u8], signers: &Path, tmp: &Path) -> Result<String, String> {
    if !paths::is_there(signers) {
        return Err(format!("the file of signers {} is not there", signers.shown()));
    }
    if signature.is_empty() {
        return Err("it is not signed".into());
    }
    let file = tmp.join(format!("signature-{}-{:x}", std::process::id(), blake3_of(text, signature)));
    paths::replace(&file, signature).map_err(|e| e.to_string())?;
    let verified = verify_file(text, &file, signers);
    paths::remove_file(&file).map_err(|e| e.to_string())?;
    verified
}

fn verify_file(text: &[u8], file: &Path, signers: &Path) -> Result<String, String> {
    let run = |it: Invocation<'_>| it.run().map_err(|e| format!("cannot start {PROGRAM}: {}", reason(&e)));
    let mut it = program();
    it.args(["-Y", "find-principals", "-n", NAMESPACE, "-s"]).arg(file).arg("-f").arg(signers);
    let found = run(it)?;
    let names = String::from_utf8_lossy(&found.stdout).into_owned();
    let name = names.lines().next().map(str::trim).filter(|name| found.ended.is_success() && !name.is_empty());
    let name = name.ok_or("it is signed by a stranger")?;
    let mut it = program();
    it.args(["-Y", "verify", "-n", NAMESPACE, "-I", name, "-s"]).arg(file).arg("-f").arg(signers).input(text.to_vec());
    match run(it)?.ended.is_success() {
        true => Ok(name.to_owned()),
        false => Err("its signature is that of another text".into()),
    }
}

fn program() -> Invocation<'static> {
    let mut it = Invocation::new(PROGRAM);
    it.stdout(Sink::Keep(LONGEST_OUTPUT)).stderr(Sink::Keep(LONGEST_OUTPUT)).limit(Some(TIMEOUT));
    it
}

fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    line.unwrap_or("ssh-keygen gave no signature").to_owned()
}

fn blake3_of(text: &[u8], signature: &[u8]) -> u64 {
    let hash = blake3::Hasher::new().update(text).update(signature).finalize();
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap_or_default())
}
