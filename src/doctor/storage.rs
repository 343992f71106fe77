//! Checks of the file systems: nobody but a takeover mounts the device, it can be mounted here, and there is room.
//!
//! | file | idea |
//! | --- | --- |
//! | `automatic` | nothing else mounts or opens the device |
//! | `room` | free space |

mod automatic;
mod room;

use std::path::Path;

use super::Finding;
use super::remedy;
use super::survey::{FilesystemSupport, Survey};
use crate::config::Config;
use crate::observation::Fact;

pub(super) fn examine(survey: &Survey, config: &Config) -> Vec<Finding> {
    let mut findings = automatic::examine(survey, config);
    findings.extend(mount_point(survey, config));
    findings.push(filesystem_support(survey, config));
    findings.extend(filesystem_type(survey, config));
    findings.push(mount_options(config));
    findings.extend(room::examine(survey));
    findings
}

fn mount_point(survey: &Survey, config: &Config) -> Option<Finding> {
    let check = "mount-point";
    let seen = survey.storage.mount_point.as_ref()?;
    let shown = config.mount.directory.display().to_string();
    let make = remedy::words(&["install", "-d", "-m", "0755", &shown]);
    let why = "a takeover can't mount without its mount point";
    Some(match &seen.path.kind {
        Err(cause) => Finding::unknown(check, cause),
        Ok(_) if seen.path.is_missing() => {
            Finding::fail(check, format!("{shown} does not exist"), why).remedy(make)
        }
        Ok(_) if !seen.path.is_directory() => {
            Finding::fail(check, format!("{shown} is not a directory"), why)
                .advice(format!("move it out of the way, then: {make}"))
        }
        Ok(_) if seen.entries.is_empty() => Finding::pass(check, format!("{shown} is an empty directory")),
        Ok(_) => {
            let aside = format!("{}.beneath-the-mount", config.mount.directory.display());
            let first: Vec<&str> = seen.entries.iter().take(3).map(String::as_str).collect();
            Finding::warn(
                check,
                format!("{shown} is not mounted and not empty: {}", first.join(", ")),
                "a server that is started without the mount takes these files for its data, and what is written there is lost \
                 from sight at the next takeover",
            )
            .remedy(remedy::words(&["mv", &shown, &aside]))
            .remedy(make)
            .advice("make sure first that no server uses it: a database that somebody still needs may be in it")
        }
    })
}

fn filesystem_support(survey: &Survey, config: &Config) -> Finding {
    let check = "filesystem-support";
    let kind = &config.mount.filesystem;
    match survey.storage.filesystem_support {
        FilesystemSupport::Ready => Finding::pass(check, format!("the kernel has {kind}")),
        FilesystemSupport::Module => Finding::pass(check, format!("a module of the kernel has {kind}")),
        FilesystemSupport::Missing => Finding::fail(
            check,
            format!("the kernel can't mount {kind}"),
            "a takeover can't mount the data",
        )
        .advice("install the kernel's package with further modules, or correct mount.type in standin's configuration"),
        FilesystemSupport::Unknown => Finding::unknown(check, "the index of the kernel's modules can't be read"),
    }
}

/// Only a mounted file system tells its type: the device of a Secondary can't be read.
fn filesystem_type(survey: &Survey, config: &Config) -> Option<Finding> {
    let check = "filesystem-type";
    let Fact::Known(mount) = &survey.observation.mount else { return None };
    let mounted = mount.at_directory.as_ref().filter(|mounted| mounted.is_our_device)?;
    let (wanted, real) = (&config.mount.filesystem, &mounted.filesystem);
    if wanted == real {
        return Some(Finding::pass(check, real.clone()));
    }
    let script = format!("s/\\btype: *[\"']\\?{wanted}\\b[\"']\\?/type: {real}/");
    Some(
        Finding::fail(
            check,
            format!("{} is {real}, and mount.type says {wanted}", config.mount.device.display()),
            "the other node's takeover can't mount it",
        )
        .remedy(remedy::sed(&config.file, &script))
        .advice("on both nodes"),
    )
}

/// Options that risk the data at a power cut, with what each does.
const RISKY: [(&str, &str); 5] = [
    ("nobarrier", "lets the disk's cache reorder what InnoDB flushed"),
    ("barrier=0", "lets the disk's cache reorder what InnoDB flushed"),
    ("noload", "leaves the journal unread, so that the file system comes up damaged"),
    ("norecovery", "leaves the log unread, so that the file system comes up damaged"),
    ("data=writeback", "lets old blocks show up in files after a crash"),
];

fn mount_options(config: &Config) -> Finding {
    let check = "mount-options";
    let options = &config.mount.options;
    let without = |option: &str, finding: Finding| {
        let o = option.replace('/', "\\/");
        // One of a list in brackets, or one on a line of its own.
        let script = format!(
            "/^ *- *{o} *$/d; s/\\(\\[\\|, *\\){o} *\\(,\\|\\]\\)/\\1\\2/; s/\\[ *, */[/; s/, *,/,/; s/, *\\]/]/"
        );
        finding
            .remedy(remedy::sed(&config.file, &script))
            .advice("on both nodes; it counts from the next mount")
    };
    if let Some(option) = options.iter().find(|option| *option == "ro") {
        let finding = Finding::fail(
            check,
            "mounts read-only (ro)",
            "a server can't write its data there, and does not start",
        );
        return without(option, finding);
    }
    for (risky, what) in RISKY {
        if options.iter().any(|option| option == risky) {
            let finding = Finding::fail(
                check,
                format!("mount.options has {risky}"),
                format!("it {what}: a power cut then loses commits that were acknowledged"),
            );
            return without(risky, finding);
        }
    }
    Finding::pass(check, if options.is_empty() { "none".to_owned() } else { options.join(",") })
}

/// The names of the units by which systemd could mount a directory by itself.
pub fn mount_unit_names(directory: &Path) -> Vec<String> {
    [".mount", ".automount"].map(|suffix| automatic::unit_name(directory, suffix)).to_vec()
}

/// Whether a path in fstab or in a unit means the same directory.
fn same_directory(one: &str, other: &Path) -> bool {
    super::mysqld::clean(Path::new(one)) == super::mysqld::clean(other)
}

#[cfg(test)]
mod tests {
    use super::super::{Status, sample};
    use super::*;
    use crate::config::Host;
    use crate::doctor::survey::paths::Kind;
    use crate::observation::{Mount, Mounted};

    fn status(survey: &Survey, check: &str) -> Option<Status> {
        sample::status(&examine(survey, &sample::config()), check)
    }

    #[test]
    fn a_healthy_standby_passes() {
        let findings = examine(&sample::survey(), &sample::config());
        assert!(findings.iter().all(|finding| finding.status == Status::Pass), "{findings:?}");
        assert!(findings.len() > 6, "{findings:?}");
    }

    #[test]
    fn the_mount_point_must_be_an_empty_directory() {
        let mut survey = sample::survey();
        let point = |survey: &mut Survey, change: &dyn Fn(&mut crate::doctor::survey::MountPoint)| {
            change(survey.storage.mount_point.as_mut().unwrap());
        };
        point(&mut survey, &|point| point.entries = vec!["ibdata1".to_owned()]);
        let findings = examine(&survey, &sample::config());
        let finding = findings.iter().find(|finding| finding.check == "mount-point").unwrap();
        assert_eq!(finding.status, Status::Warn);
        assert_eq!(finding.remedy[0], "mv /var/lib/mysql /var/lib/mysql.beneath-the-mount");
        for kind in [Kind::Missing, Kind::File] {
            point(&mut survey, &|point| point.path.kind = Ok(kind));
            assert_eq!(status(&survey, "mount-point"), Some(Status::Fail));
        }
        survey.storage.mount_point = None;
        assert_eq!(status(&survey, "mount-point"), None);
    }

    #[test]
    fn the_kernel_must_know_the_file_system() {
        let mut survey = sample::survey();
        for (support, wanted) in [
            (FilesystemSupport::Module, Status::Pass),
            (FilesystemSupport::Missing, Status::Fail),
            (FilesystemSupport::Unknown, Status::Warn),
        ] {
            survey.storage.filesystem_support = support;
            assert_eq!(status(&survey, "filesystem-support"), Some(wanted));
        }
    }

    #[test]
    fn the_type_is_compared_where_it_is_mounted() {
        let mut survey = sample::survey();
        assert_eq!(status(&survey, "filesystem-type"), None);
        for (filesystem, wanted) in [("ext4", Status::Pass), ("xfs", Status::Fail)] {
            let mounted = Mounted {
                source: "/dev/drbd0".to_owned(),
                is_our_device: true,
                filesystem: filesystem.to_owned(),
                read_only: false,
            };
            survey.observation.mount =
                Fact::Known(Mount { at_directory: Some(mounted), device_elsewhere: Vec::new() });
            assert_eq!(status(&survey, "filesystem-type"), Some(wanted));
        }
    }

    fn with_options(options: &str) -> Config {
        let text = sample::CONFIGURATION.replace("type: ext4}", &format!("type: ext4, options: {options}}}"));
        crate::config::parse(&text, "r0.yaml".as_ref(), &Host::fixed("node2")).unwrap()
    }

    #[test]
    fn options_that_risk_the_data_fail() {
        for (options, wanted) in [
            ("[noatime]", Status::Pass),
            ("[noatime, nobarrier]", Status::Fail),
            ("[barrier=0]", Status::Fail),
            ("[data=writeback, noatime]", Status::Fail),
        ] {
            assert_eq!(mount_options(&with_options(options)).status, wanted, "{options}");
        }
    }

    #[test]
    fn the_remedy_takes_the_option_out_wherever_it_stands() {
        use std::time::Duration;

        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("r0.yaml");
        for (options, after) in [
            ("[nobarrier]", "[]"),
            ("[noatime, nobarrier]", "[noatime]"),
            ("[nobarrier, noatime]", "[noatime]"),
            ("[a, nobarrier, b]", "[a, b]"),
        ] {
            let mut config = with_options("[nobarrier]");
            config.file = file.clone();
            let text = |options: &str| {
                sample::CONFIGURATION.replace("type: ext4}", &format!("type: ext4, options: {options}}}"))
            };
            std::fs::write(&file, text(options)).unwrap();
            for command in mount_options(&config).remedy {
                let words = ["sh".to_owned(), "-c".to_owned(), command];
                assert!(crate::node::command::run(&words, Duration::from_secs(10)).unwrap().succeeded());
            }
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text(after), "{options}");
        }
    }
}
