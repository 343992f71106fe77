//! Real mounts of loop devices, in a mount namespace of the test's own. Each test runs itself again inside one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::config::MountConfig;
use crate::failure::FailureKind;
use crate::node::filesystem::{How, holders_of_device, holders_of_mount, mount, observe, unmount};
use crate::node::{Attempt, Change, Progress};
use crate::observation::Mount;

const INSIDE: &str = "STANDIN_TEST_IN_NAMESPACE";

/// Runs the test called `name` again in a mount namespace of its own, or `body` when this is already there.
fn in_namespace(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture"])
        .arg(format!("node::filesystem::tests::root::{name}"))
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// An ext4 file system on a loop device.
struct Disk {
    device: PathBuf,
    // With the device open, detaching it takes effect when the last user is gone: also when the test is killed.
    _open: File,
    _image: tempfile::NamedTempFile,
}

impl Disk {
    fn new() -> Self {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(16 << 20).unwrap();
        let path = image.path().to_str().unwrap();
        tool("mkfs.ext4", &["-q", path]);
        let device = PathBuf::from(tool("losetup", &["--find", "--show", path]));
        let open = File::open(&device).unwrap();
        tool("losetup", &["--detach", device.to_str().unwrap()]);
        Self { device, _open: open, _image: image }
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Progress for Lines {
    fn report(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

fn attempt(seconds: f64) -> Attempt {
    Attempt::new(Duration::from_secs_f64(seconds), Box::new(Lines::default()))
}

fn options(list: &[&str]) -> Vec<String> {
    list.iter().map(|option| (*option).to_owned()).collect()
}

fn seen(disk: &Disk, directory: &Path) -> Mount {
    let config = MountConfig {
        device: disk.device.clone(),
        directory: directory.to_owned(),
        filesystem: "ext4".to_owned(),
        options: Vec::new(),
    };
    observe(&config).known().unwrap().clone()
}

/// Ended at the end of the test, however it ends.
struct Process(Child);

impl Process {
    fn start(directory: &Path, script: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(directory).stdin(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
#[ignore = "needs root"]
fn root_mount_and_unmount_are_idempotent() {
    in_namespace("root_mount_and_unmount_are_idempotent", || {
        let disk = Disk::new();
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        assert_eq!(seen(&disk, directory), Mount { at_directory: None, device_elsewhere: Vec::new() });
        let go = || mount(&disk.device, directory, "ext4", &options(&["noatime", "nodev"]), &attempt(30.0));
        assert_eq!(go().unwrap().change, Change::Done);
        let mounted = seen(&disk, directory).at_directory.unwrap();
        assert!(mounted.is_our_device && !mounted.read_only && mounted.filesystem == "ext4");
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line = table.lines().find(|line| line.contains(directory.to_str().unwrap())).unwrap();
        assert!(line.contains("noatime") && line.contains("nodev"), "{line}");
        fs::write(directory.join("file"), "x").unwrap();
        assert_eq!(go().unwrap().change, Change::AlreadySo);
        assert_eq!(unmount(&disk.device, directory, &attempt(30.0)).unwrap().change, Change::Done);
        assert_eq!(seen(&disk, directory).at_directory, None);
        assert_eq!(unmount(&disk.device, directory, &attempt(30.0)).unwrap().change, Change::AlreadySo);
    });
}

#[test]
#[ignore = "needs root"]
fn root_a_mount_that_stands_in_the_way_is_refused() {
    in_namespace("root_a_mount_that_stands_in_the_way_is_refused", || {
        let (ours, other) = (Disk::new(), Disk::new());
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [first, second] = directories.each_ref().map(tempfile::TempDir::path);
        let go = |disk: &Disk, directory: &Path, list: &[&str]| {
            mount(&disk.device, directory, "ext4", &options(list), &attempt(30.0))
        };
        go(&other, first, &[]).unwrap();
        let failure = go(&ours, first, &[]).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.seen.contains(other.device.to_str().unwrap()), "{failure}");
        go(&ours, second, &["ro"]).unwrap();
        let failure = go(&ours, second, &[]).unwrap_err();
        assert!(failure.seen.ends_with("but read-only"), "{failure}");
        unmount(&other.device, first, &attempt(30.0)).unwrap();
        let failure = go(&ours, first, &[]).unwrap_err();
        assert!(failure.seen.ends_with(&format!("is mounted at {}", second.display())), "{failure}");
        let failure = unmount(&other.device, second, &attempt(30.0)).unwrap();
        assert_eq!(failure.change, Change::AlreadySo);
        assert!(seen(&ours, second).at_directory.is_some(), "another device is left alone");
        // Covered by another mount it must not look unmounted.
        nix::mount::mount(Some("tmpfs"), second, Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>)
            .unwrap();
        let failure = unmount(&ours.device, second, &attempt(30.0)).unwrap_err();
        assert!(failure.seen.contains("tmpfs is mounted over"), "{failure}");
        nix::mount::umount(second).unwrap();
        unmount(&ours.device, second, &attempt(30.0)).unwrap();
    });
}

#[test]
#[ignore = "needs root"]
fn root_what_the_kernel_refuses_is_explained() {
    in_namespace("root_what_the_kernel_refuses_is_explained", || {
        let disk = Disk::new();
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let go = |directory: &Path, filesystem: &str, list: &[&str]| {
            mount(&disk.device, directory, filesystem, &options(list), &attempt(30.0)).unwrap_err()
        };
        let failure = go(directory, "nosuchfs", &[]);
        assert!(failure.seen.contains("does not know the file system type nosuchfs"), "{failure}");
        let failure = go(directory, "ext4", &["no_such_option=1"]);
        assert!(failure.seen.contains("EINVAL") && failure.seen.contains("no_such_option=1"), "{failure}");
        let failure = go(&directory.join("missing"), "ext4", &[]);
        assert!(failure.seen.ends_with("does not exist") && failure.next.contains("mkdir -p"), "{failure}");
        fs::write(directory.join("file"), "").unwrap();
        assert!(go(&directory.join("file"), "ext4", &[]).seen.ends_with("is not a directory"));
        std::os::unix::fs::symlink(directory, directory.join("link")).unwrap();
        assert!(go(&directory.join("link"), "ext4", &[]).seen.ends_with("is a symlink"));
        assert_eq!(seen(&disk, directory).at_directory, None);
    });
}

#[test]
#[ignore = "needs root"]
fn root_a_busy_unmount_names_who_holds_it_and_goes_on_when_they_end() {
    in_namespace("root_a_busy_unmount_names_who_holds_it_and_goes_on_when_they_end", || {
        let disk = Disk::new();
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        mount(&disk.device, directory, "ext4", &[], &attempt(30.0)).unwrap();
        fs::copy("/bin/sleep", directory.join("sleeper")).unwrap();
        tool("chmod", &["755", directory.join("sleeper").to_str().unwrap()]);
        let mut in_it = Process::start(directory, "read line");
        let file = directory.join("file");
        let mut with_file = Process::start(Path::new("/"), &format!("exec 5>{}; read line", file.display()));
        let mut runs_it =
            Process::start(Path::new("/"), &format!("exec {}/sleeper 1000", directory.display()));
        let ways = || -> Vec<(i32, How)> {
            holders_of_device(&disk.device).into_iter().map(|holder| (holder.pid, holder.how)).collect()
        };
        let expected = [
            (in_it.pid(), How::WorkingDirectory),
            (with_file.pid(), How::OpenFile),
            (runs_it.pid(), How::Mapped),
        ];
        wait_until("all three hold it", || expected.iter().all(|holder| ways().contains(holder)));
        let failure = unmount(&disk.device, directory, &attempt(0.5)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::TimedOut);
        for (pid, _) in expected {
            assert!(failure.seen.contains(&format!("(pid {pid}, ")), "{failure}");
        }
        assert!(seen(&disk, directory).at_directory.is_some(), "never lazily");
        assert!(in_it.0.try_wait().unwrap().is_none(), "nobody is killed");

        let lines = Lines::default();
        let attempt = Attempt::new(Duration::from_secs(30), Box::new(lines.clone()));
        let name = format!("(pid {}, working directory", in_it.pid());
        std::thread::scope(|scope| {
            let unmounting = scope.spawn(|| unmount(&disk.device, directory, &attempt));
            wait_until("progress names a holder", || {
                lines.0.lock().unwrap().iter().any(|line| line.contains(&name))
            });
            for process in [&mut in_it, &mut with_file, &mut runs_it] {
                process.end();
            }
            assert_eq!(unmounting.join().unwrap().unwrap().change, Change::Done);
        });
        assert_eq!(seen(&disk, directory).at_directory, None);
    });
}

#[test]
#[ignore = "needs root"]
fn root_other_mounts_of_the_device_are_told() {
    in_namespace("root_other_mounts_of_the_device_are_told", || {
        let disk = Disk::new();
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [directory, bind] = directories.each_ref().map(tempfile::TempDir::path);
        mount(&disk.device, directory, "ext4", &[], &attempt(30.0)).unwrap();
        nix::mount::mount(Some(directory), bind, None::<&str>, nix::mount::MsFlags::MS_BIND, None::<&str>)
            .unwrap();
        let mut elsewhere = Process(
            Command::new("unshare")
                .args(["--mount", "sh", "-c", "cd /; read line"])
                .stdin(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let pid = elsewhere.pid();
        wait_until("the other namespace is seen", || {
            holders_of_device(&disk.device).iter().any(|h| h.pid == pid && h.how == How::MountNamespace)
        });
        let in_the_way = holders_of_mount(&disk.device);
        assert!(!in_the_way.iter().any(|h| h.pid == pid), "it keeps nobody from unmounting: {in_the_way:?}");
        let applied = unmount(&disk.device, directory, &attempt(30.0)).unwrap();
        let warning = applied.warning.unwrap();
        assert!(warning.contains(&format!("still mounted at {}", bind.display())), "{warning}");
        nix::mount::umount(bind).unwrap();
        let open = File::open(&disk.device).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(holders_of_device(&disk.device).iter().any(|h| h.pid == own && h.how == How::OpenFile));
        drop(open);
        elsewhere.end();
    });
}
