//! Nothing but a takeover may mount the device, or hold it open.

use super::same_directory;
use crate::config::Config;
use crate::doctor::survey::{Lvm, Survey};
use crate::doctor::{Finding, remedy};
use crate::foreign::fstab::{self, Entry};
use crate::observation::Fact;
use std::path::Path;

pub(super) fn examine(survey: &Survey, config: &Config) -> Vec<Finding> {
    let mut findings = vec![fstab(survey, config)];
    findings.extend(mount_unit(survey, config));
    findings.extend(multipath(survey));
    findings.extend(lvm(survey));
    findings
}

/// The name of the unit that systemd has for a mount point (systemd.unit(5), "String Escaping for Inclusion in Unit
/// Names").
pub(in crate::doctor) fn unit_name(directory: &Path, suffix: &str) -> String {
    let path = directory.to_string_lossy();
    let path = path.trim_matches('/');
    if path.is_empty() {
        return format!("-{suffix}");
    }
    let mut name = String::new();
    for (index, byte) in path.bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if index == 0 => name.push_str("\\x2e"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => name.push(char::from(byte)),
            other => name.push_str(&format!("\\x{other:02x}")),
        }
    }
    name + suffix
}

fn fstab(survey: &Survey, config: &Config) -> Finding {
    let check = "fstab";
    let entries = match &survey.storage.fstab {
        Fact::Known(entries) => entries,
        Fact::Unknown(cause) => return Finding::unknown(check, cause),
    };
    let ours = |entry: &&Entry| {
        survey.storage.device_names.contains(&entry.device)
            || same_directory(&entry.directory, &config.mount.directory)
    };
    let Some(entry) = entries.iter().filter(ours).find(|entry| mounts_by_itself(entry)) else {
        if let Some(cause) = &survey.storage.tags_unknown {
            return Finding::unknown(check, cause)
                .advice("compare the lines with UUID= and LABEL= by hand: blkid of DRBD's disk");
        }
        let seen = if entries.iter().any(|entry| ours(&entry)) {
            "the device is there with noauto"
        } else {
            "the device is not there"
        };
        return Finding::pass(check, seen);
    };
    let mut options: Vec<&str> = entry
        .options
        .iter()
        .map(String::as_str)
        .filter(|option| {
            *option != "auto" && *option != "x-systemd.automount" && *option != "comment=systemd.automount"
        })
        .collect();
    if !options.contains(&"noauto") {
        options.push("noauto");
    }
    let fields = [&entry.device, &entry.directory, &entry.filesystem, &options.join(",")]
        .map(|field| fstab::escape(field));
    let line = format!("{} {}", fields.join(" "), entry.rest).trim_end().to_owned();
    Finding::fail(
        check,
        format!("/etc/fstab:{}: {} is mounted at {} at boot", entry.line, entry.device, entry.directory),
        "the node mounts it at boot or hangs there, when it is Secondary; and what is mounted behind standin's back keeps a \
         takeover or a release from working",
    )
    .remedy(remedy::replace_line(Path::new("/etc/fstab"), entry.line, &line))
    .remedy("systemctl daemon-reload")
}

/// Without `noauto`; or by systemd as soon as somebody looks into the directory.
fn mounts_by_itself(entry: &Entry) -> bool {
    !entry.has("noauto") || entry.has("x-systemd.automount") || entry.has("comment=systemd.automount")
}

/// A unit that somebody wrote: those that systemd makes of fstab and of what is mounted are not enabled.
fn mount_unit(survey: &Survey, config: &Config) -> Option<Finding> {
    let check = "mount-unit";
    let units = survey.unit.units.known()?;
    for suffix in [".automount", ".mount"] {
        let name = unit_name(&config.mount.directory, suffix);
        let Some(unit) = units.get(&name) else { continue };
        if !matches!(unit.get("UnitFileState"), "enabled" | "enabled-runtime") {
            continue;
        }
        return Some(
            Finding::fail(
                check,
                format!("{name} is enabled ({})", unit.get("FragmentPath")),
                "systemd mounts the device at boot or as soon as somebody looks, behind standin's back",
            )
            .remedy(remedy::words(&["systemctl", "disable", &name])),
        );
    }
    Some(Finding::pass(check, "no unit of systemd mounts it by itself"))
}

fn multipath(survey: &Survey) -> Option<Finding> {
    let check = "multipath";
    if survey.storage.multipath_ignores_drbd? {
        return Some(Finding::pass(check, "multipathd leaves DRBD's devices alone"));
    }
    Some(
        Finding::warn(
            check,
            "multipathd runs, and its configuration does not exclude DRBD's devices",
            "it may hold the device open, so that a release can't demote it (\"Device is held open by someone\")",
        )
        .remedy(remedy::make_directory(Path::new("/etc/multipath/conf.d")))
        .remedy(remedy::write_file(
            Path::new("/etc/multipath/conf.d/standin-drbd.conf"),
            &["blacklist {", "    devnode \"^drbd[0-9]\"", "}"],
        ))
        .remedy("multipathd reconfigure"),
    )
}

const REJECT: &str = "\"r|^/dev/drbd.*|\"";

fn lvm(survey: &Survey) -> Option<Finding> {
    let check = "lvm-filter";
    let lvm: &Lvm = match survey.storage.lvm.as_ref()? {
        Fact::Known(lvm) => lvm,
        Fact::Unknown(cause) => return Some(Finding::unknown(check, cause)),
    };
    if lvm.devices_file {
        return Some(Finding::pass(check, "LVM looks at the devices of its devices file only"));
    }
    if lvm
        .filters
        .iter()
        .any(|(_, text)| text.contains("drbd") || text.contains("\"r|.*|\"") || text.contains("\"r/.*/\""))
    {
        return Some(Finding::pass(check, "LVM's filter decides about DRBD's devices"));
    }
    let file = Path::new("/etc/lvm/lvm.conf");
    let finding = Finding::warn(
        check,
        "LVM's filter does not exclude DRBD's devices",
        "LVM opens every device to look for volumes, at every event of udev: a release that demotes in that moment fails, and \
         volumes inside the device are taken into use",
    );
    let global = lvm.filters.iter().find(|(_, text)| text.trim_start().starts_with("global_filter"));
    let finding = match (global, lvm.devices_section) {
        (Some((line, _)), _) => finding.remedy(remedy::sed(file, &format!("{line}s#\\[ *#[ {REJECT}, #"))),
        (None, Some(line)) => {
            finding.remedy(remedy::sed(file, &format!("{line}a\\\\tglobal_filter = [ {REJECT} ]")))
        }
        (None, None) => finding.remedy(remedy::append_to_file(
            file,
            &["devices {", &format!("    global_filter = [ {REJECT} ]"), "}"],
        )),
    };
    Some(finding.advice("when LVM is to lie on top of DRBD, exclude the disks below it instead"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::survey::Unit;
    use crate::doctor::{Status, sample};

    fn finding(survey: &Survey, check: &str) -> Option<Finding> {
        examine(survey, &sample::config()).into_iter().find(|finding| finding.check == check)
    }

    fn with_fstab(text: &str) -> Finding {
        let mut survey = sample::survey();
        survey.storage.fstab = Fact::Known(fstab::parse(text));
        survey.storage.device_names = vec!["/dev/drbd0".to_owned(), "UUID=1234".to_owned()];
        finding(&survey, "fstab").unwrap()
    }

    #[test]
    fn the_device_must_not_be_mounted_at_boot() {
        for (text, wanted) in [
            ("/dev/sda1 / ext4 defaults 0 1", Status::Pass),
            ("/dev/drbd0 /var/lib/mysql ext4 noauto 0 0", Status::Pass),
            ("/dev/drbd0 /var/lib/mysql ext4 defaults 0 0", Status::Fail),
            ("UUID=1234 /srv ext4", Status::Fail),
            ("/dev/sdb1 /var/lib/mysql/ ext4", Status::Fail),
            ("/dev/drbd0 /var/lib/mysql ext4 noauto,x-systemd.automount 0 0", Status::Fail),
        ] {
            assert_eq!(with_fstab(text).status, wanted, "{text}");
        }
    }

    #[test]
    fn a_tag_that_can_t_be_compared_is_told() {
        let mut survey = sample::survey();
        survey.storage.tags_unknown = Some("/etc/fstab:3: UUID=1234: no blkid".to_owned());
        assert_eq!(finding(&survey, "fstab").unwrap().status, Status::Warn);
        survey.storage.fstab = Fact::Known(fstab::parse("/dev/drbd0 /x ext4"));
        assert_eq!(finding(&survey, "fstab").unwrap().status, Status::Fail);
    }

    #[test]
    fn the_line_is_rewritten_with_noauto() {
        let finding = with_fstab("# x\n/dev/drbd0  /var/lib/mysql ext4 auto,noatime,x-systemd.automount 0 0");
        assert_eq!(
            finding.remedy[0],
            "sed -i --follow-symlinks '2s/.*/\\/dev\\/drbd0 \\/var\\/lib\\/mysql ext4 noatime,noauto 0 0/' /etc/fstab"
        );
    }

    #[test]
    fn a_mount_unit_that_is_enabled_fails() {
        let mut survey = sample::survey();
        assert_eq!(finding(&survey, "mount-unit").unwrap().status, Status::Pass);
        if let Fact::Known(units) = &mut survey.unit.units {
            units.insert(
                "var-lib-mysql.automount".to_owned(),
                Unit::default().with("UnitFileState", "enabled"),
            );
        }
        let finding = finding(&survey, "mount-unit").unwrap();
        assert_eq!(
            (finding.status, finding.remedy[0].as_str()),
            (Status::Fail, "systemctl disable var-lib-mysql.automount")
        );
    }

    #[test]
    fn mount_points_are_escaped_as_systemd_does() {
        assert_eq!(unit_name(Path::new("/var/lib/mysql"), ".mount"), "var-lib-mysql.mount");
        assert_eq!(unit_name(Path::new("/srv/my-data/.x"), ".mount"), "srv-my\\x2ddata-.x.mount");
    }

    #[test]
    fn who_may_hold_the_device_open_is_a_warning() {
        let mut survey = sample::survey();
        assert_eq!((finding(&survey, "multipath"), finding(&survey, "lvm-filter")), (None, None));
        for (ignores, wanted) in [(true, Status::Pass), (false, Status::Warn)] {
            survey.storage.multipath_ignores_drbd = Some(ignores);
            assert_eq!(finding(&survey, "multipath").unwrap().status, wanted);
        }
        let mut lvm = Lvm { devices_section: Some(12), ..Lvm::default() };
        survey.storage.lvm = Some(Fact::Known(lvm.clone()));
        let warned = finding(&survey, "lvm-filter").unwrap();
        assert_eq!(warned.status, Status::Warn);
        assert!(warned.remedy[0].contains("12a"), "{warned:?}");
        lvm.filters = vec![(20, "\tglobal_filter = [ \"a|.*|\" ]".to_owned())];
        survey.storage.lvm = Some(Fact::Known(lvm.clone()));
        assert!(finding(&survey, "lvm-filter").unwrap().remedy[0].contains("20s#"));
        lvm.filters = vec![(20, "global_filter = [ \"r|/dev/drbd.*|\" ]".to_owned())];
        survey.storage.lvm = Some(Fact::Known(lvm));
        assert_eq!(finding(&survey, "lvm-filter").unwrap().status, Status::Pass);
    }
}
