//! The source of a bucket's credentials, and those that the program `aws` exports. They stay in the memory of this process.

use std::time::Duration;

use super::spec::{Address, Credentials};
use super::{RemoteError, RemoteSpec};
use crate::sys::invocation::{Invocation, Sink};

const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(60);

/// Credentials of `aws configure export-credentials`.
pub struct ExportedCredentials {
    pub id: String,
    pub secret: String,
    pub token: Option<String>,
}

/// Whether the environment names a profile, and has no credentials itself.
pub fn is_of_profile(spec: &RemoteSpec) -> bool {
    spec.credentials.is_none() && is_set("AWS_PROFILE") && !is_set("AWS_ACCESS_KEY_ID")
}

/// The source of a bucket's credentials, in words; `None` for other remotes.
pub fn source(spec: &RemoteSpec) -> Option<&'static str> {
    if !matches!(Address::parse(&spec.url), Ok(Address::S3 { .. })) {
        return None;
    }
    Some(match spec.credentials {
        Some(Credentials::None) => "requests without a signature (credentials = \"none\")",
        Some(Credentials::Aws) => "the credentials of aws configure export-credentials",
        _ if is_of_profile(spec) => "the credentials of the profile in AWS_PROFILE",
        _ if is_set("AWS_ACCESS_KEY_ID") => "the credentials in AWS_ACCESS_KEY_ID",
        _ if is_set("AWS_WEB_IDENTITY_TOKEN_FILE") => "the identity in AWS_WEB_IDENTITY_TOKEN_FILE",
        _ => "the credentials of this container or instance",
    })
}

/// Asks the program `aws`, which knows profiles and single sign-on.
///
/// # Errors
/// It cannot be started, or has none.
pub fn exported(spec: &RemoteSpec) -> Result<ExportedCredentials, RemoteError> {
    let denied = |why: &str| RemoteError::Denied { remote: spec.name.clone(), why: why.into() };
    let mut it = Invocation::new("aws");
    it.args(["configure", "export-credentials", "--format", "process"]);
    it.stdout(Sink::Keep(64 << 10)).stderr(Sink::Null).limit(Some(CREDENTIALS_TIMEOUT));
    let done = it.run().map_err(|_| denied("the program aws cannot be started"))?;
    let failed = || denied("aws configure export-credentials has none");
    let found: serde_json::Value = serde_json::from_slice(&done.stdout).map_err(|_| failed())?;
    let field = |name: &str| found.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    let (id, secret) = field("AccessKeyId").zip(field("SecretAccessKey")).ok_or_else(failed)?;
    Ok(ExportedCredentials { id, secret, token: field("SessionToken") })
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}
