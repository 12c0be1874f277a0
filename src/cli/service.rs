//! `depsfs service`: the views of all known worktrees, mounted when the user logs in.
//!
//! A unit of the user's systemd runs `depsfs service run`, which mounts everything, reports that it is ready, and
//! waits. The daemons that serve the views are their own: ending the service unmounts only views that no program uses.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use sd_notify::NotifyState;

use super::answers::{ServiceAnswer, ServiceInstallAnswer, ServiceUninstallAnswer};
use super::mount_all::{self, AllMounted};
use super::report::Failure;
use super::{output, places, record};
use crate::sys::log::OrWarn;
use crate::sys::process::{self, Signalled, Signals};
use crate::sys::terminal::DisplayName;
use crate::sys::{invocation, path, proc};

const UNIT: &str = "depsfs.service";
/// `systemctl enable --now` returns when everything is mounted.
const PATIENCE: Duration = Duration::from_secs(300);

const EXAMPLES: &str = "Examples:
  depsfs service install
  depsfs service status";

/// Mount all known worktrees at login, through systemd
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Service {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Write the unit and have systemd start it now and at each login; without systemd the unit is only written
    Install,
    /// Stop the service and remove its unit; views in use stay mounted
    Uninstall,
    /// Tell whether it is installed, enabled and active
    Status,
    /// Mount all known worktrees, tell systemd, wait, and unmount in the end: what the unit runs
    #[command(hide = true)]
    Run,
}

impl Service {
    /// Writes or removes the user's unit, and calls systemctl; without systemd the unit is only written, and a note
    /// says so.
    pub fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Install => install(),
            What::Uninstall => uninstall(),
            What::Status => status(),
            What::Run => run(),
        }
    }

    /// The first words of the message if it fails.
    pub fn failing(&self) -> String {
        match self.what {
            What::Install => "the service was not installed",
            What::Uninstall => "the service was not uninstalled",
            What::Status => "the service cannot be told of",
            What::Run => "the service failed",
        }
        .into()
    }
}

fn unit_file() -> Result<PathBuf, Failure> {
    Ok(places::configuration()?.join("systemd/user").join(UNIT))
}

fn install() -> Result<(), Failure> {
    let file = unit_file()?;
    let program = std::env::current_exe().map_err(Failure::os("find the path of this program"))?;
    let parent = file.parent().expect("it was joined to a directory");
    path::make_dirs(parent)?;
    path::replace_synced(&file, unit(&program).as_bytes())?;
    let reported = match output::is_json() {
        true => Ok(()),
        false => output::done("the unit was written", &format!("wrote {}\n", file.shown())),
    };
    let answer = |enabled| ServiceInstallAnswer { unit: file.as_path().into(), enabled };
    if let Err(why) = systemctl(&["daemon-reload"]) {
        output::note(&format!(
            "depsfs: systemd does not run for this user ({why}): the unit will be of use when it does"
        ));
        output::note(&format!("  hint: depsfs mount --all mounts now; systemctl --user enable --now {UNIT} later"));
        return reported.and_then(|()| output::done_answer("the unit was written", &answer(false), String::new));
    }
    systemctl(&["enable", "--now", UNIT]).map_err(Failure::Systemd)?;
    let enabled = "enabled: all known worktrees are mounted now and at each login\n";
    reported.and_then(|()| output::done_answer("the service was installed", &answer(true), || enabled.into()))
}

fn uninstall() -> Result<(), Failure> {
    let file = unit_file()?;
    let answer = |removed| ServiceUninstallAnswer { unit: file.as_path().into(), removed };
    if !path::is_there(&file) {
        return output::answer(&answer(false), || "not installed\n".into());
    }
    // Without systemd nothing runs; with it, a failure here is reported, and the unit goes all the same.
    if let Err(why) = systemctl(&["disable", "--now", UNIT]) {
        output::note(&format!("depsfs: systemd did not stop it: {why}"));
    }
    path::remove_file(&file)?;
    systemctl(&["daemon-reload"]).or_debug("systemd was not told");
    output::done_answer("the service was uninstalled", &answer(true), || format!("removed {}\n", file.shown()))
}

fn status() -> Result<(), Failure> {
    let file = unit_file()?;
    let status = ServiceAnswer {
        installed: path::is_there(&file),
        unit: file.as_path().into(),
        enabled: ask("is-enabled"),
        active: ask("is-active"),
    };
    output::answer(&status, || {
        let installed = if status.installed { "installed" } else { "not installed" };
        let word = |word: &Option<String>| match word {
            Some(word) => word.clone(),
            None => "unknown: systemd does not run for this user".into(),
        };
        let (enabled, active) = (word(&status.enabled), word(&status.active));
        format!("unit:    {} ({installed})\nenabled: {enabled}\nactive:  {active}\n", file.shown())
    })
}

fn systemctl(args: &[&str]) -> Result<String, String> {
    let Some(program) = proc::find_program("systemctl", &[]) else { return Err("there is no systemctl".into()) };
    let args: Vec<&str> = ["--user"].iter().chain(args).copied().collect();
    invocation::output(&program, &args, PATIENCE).map_err(|e| e.to_string())
}

/// One word that systemctl(1) prints of the unit: "inactive" with a failure, and nothing if systemd can't be reached.
fn ask(what: &str) -> Option<String> {
    let program = proc::find_program("systemctl", &[])?;
    let said = invocation::answer(&program, &["--user", what, UNIT], PATIENCE).ok()?;
    let word = said.lines().next().unwrap_or_default().trim();
    (!word.is_empty()).then(|| word.to_owned())
}

fn unit(program: &Path) -> String {
    let environment: String = ["DEPSFS_STORE", "XDG_DATA_HOME", "XDG_STATE_HOME"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok().filter(|v| v.starts_with('/')).map(|value| (name, value)))
        .map(|(name, value)| format!("Environment={}\n", quoted(&format!("{name}={value}"), false)))
        .collect();
    format!(
        "[Unit]\n\
         Description=Views of all worktrees that depsfs knows\n\
         \n\
         [Service]\n\
         Type=notify\n\
         {environment}\
         ExecStart={} service run\n\
         ExecReload=/bin/kill -HUP $MAINPID\n\
         # The daemons go on for whoever has a view open.\n\
         KillMode=process\n\
         TimeoutStartSec={}\n\
         Restart=on-failure\n\
         \n\
         [Install]\n\
         WantedBy=default.target\n",
        quoted(&program.to_string_lossy(), true),
        PATIENCE.as_secs()
    )
}

/// As systemd.syntax(7) and systemd.service(5) have it; in a command, `$` has a meaning too.
fn quoted(text: &str, in_command: bool) -> String {
    let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{}\"", if in_command { text.replace('$', "$$") } else { text })
}

fn run() -> Result<(), Failure> {
    let signals = Signals::take_over().map_err(Failure::os("catch signals"))?;
    mount()?;
    loop {
        use std::os::fd::AsFd;
        process::wait_any(&[signals.as_fd()], None).map_err(Failure::os("wait for signals"))?;
        for signal in signals.drain().map_err(Failure::os("read signals"))? {
            match signal {
                Signalled::Reconcile(_) => mount()?,
                Signalled::ChildEnded => {}
                Signalled::End => {
                    tell(&[NotifyState::Stopping]);
                    return mount_all::unmount();
                }
            }
        }
    }
}

/// Mounts all known worktrees. One that can't be mounted is reported, and does not stop the others.
fn mount() -> Result<(), Failure> {
    let AllMounted { mounted, failed, .. } = mount_all::mount(&places::store()?, places::states().ok().as_deref())?;
    let all = output::count(mounted as u64, "worktree");
    let words = match failed {
        0 => format!("{all} mounted"),
        _ => format!("{all} mounted, {failed} could not be: see the journal"),
    };
    record::end(u8::from(failed > 0), None);
    tell(&[NotifyState::Ready, NotifyState::Status(&words)]);
    Ok(())
}

/// Nothing is sent without systemd (`$NOTIFY_SOCKET`).
fn tell(what: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(what) {
        output::note(&format!("depsfs: systemd cannot be told: {e}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_takes_for_its_own_is_quoted() {
        assert_eq!(quoted(r#"/opt/a b/"c"\d/100%/$x"#, true), r#""/opt/a b/\"c\"\\d/100%%/$$x""#);
        assert_eq!(quoted("DEPSFS_STORE=/$s", false), r#""DEPSFS_STORE=/$s""#);
    }
}
