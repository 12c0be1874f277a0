//! Denials of AppArmor for `fusermount3` and for depsfs: Ubuntu confines the first to a list of paths.

use std::path::Path;

use super::Row;
use crate::sys::{kernel, path};

const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
const LOGS: [&str; 3] = ["/var/log/audit/audit.log", "/var/log/kern.log", "/var/log/syslog"];

/// One row: whether AppArmor is active, and its denials to fusermount3 and depsfs in the logs that this user may read.
pub fn row() -> Row {
    let check = "apparmor";
    let enabled = path::read_if_there(Path::new(ENABLED)).ok().flatten();
    if !enabled.is_some_and(|text| text.starts_with(b"Y")) {
        return Row::ok(check, "not active");
    }
    let logs = LOGS.iter().map(|log| kernel::tail(Path::new(log))).chain([kernel::said()]);
    let mut denials: Vec<String> = logs.flat_map(|log| denials(&String::from_utf8_lossy(&log))).collect();
    denials.sort();
    denials.dedup();
    if denials.is_empty() {
        return Row::ok(
            check,
            "active; it has denied nothing to fusermount3 or depsfs, as far as the logs can be read",
        );
    }
    let remedy = "allow it in /etc/apparmor.d/local/fusermount3, or sudo aa-complain fusermount3";
    Row::warn(check, format!("active, and has denied: {}", super::few(&denials)), remedy)
}

/// Each line about us as what was denied to whom: `mount /w/target to fusermount3`.
fn denials(log: &str) -> Vec<String> {
    let ours = |line: &&str| {
        line.contains("apparmor=\"DENIED\"") && ["fusermount", "depsfs"].iter().any(|name| line.contains(name))
    };
    let told = |line: &str| {
        let field = |name: &str| {
            let (_, rest) = line.split_once(&format!("{name}=\""))?;
            rest.split('"').next()
        };
        let who = field("comm").or(field("profile")).unwrap_or("fusermount3");
        format!("{} {} to {who}", field("operation").unwrap_or("something"), field(" name").unwrap_or("somewhere"))
    };
    log.lines().filter(ours).map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_says_what_and_where_and_other_lines_are_not_ours() {
        let log = "audit: type=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"mount\" class=\"mount\" \
                   info=\"failed mntpnt match\" error=-13 profile=\"fusermount3\" name=\"/srv/w/target/\" pid=9 \
                   comm=\"fusermount3\" fstype=\"fuse.depsfs\"\n\
                   audit: apparmor=\"DENIED\" operation=\"open\" profile=\"cups\" name=\"/x\" comm=\"cups\"\n\
                   audit: apparmor=\"ALLOWED\" operation=\"mount\" profile=\"fusermount3\"\n";
        assert_eq!(denials(log), ["mount /srv/w/target/ to fusermount3"]);
    }
}
