//! The option file with the user and password for the query through the VIP.
//!
//! The password stays inside [`Password`], which shows itself to nobody: it is in no error, log, journal or argv.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::geteuid;

use crate::failure::Failure;
use crate::foreign::option_file::line::{self, Line};

/// An option file larger than this is something else.
const MAX_SIZE: u64 = 64 * 1024;

/// A password that never prints itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password itself, for the one call that must send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Password(…)")
    }
}

/// Who connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The account's user name.
    pub user: String,
    /// Its password; none when the file names none.
    pub password: Option<Password>,
}

/// Reads `user` and `password` of the `[client]` group of a MySQL option file.
///
/// # Errors
/// The file can't be read, belongs to somebody else, can be read or written by others, or names no user.
pub fn read(path: &Path) -> Result<Credentials, Failure> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        Failure::failed(
            format!("the credentials file {shown} can't be read: {error}"),
            "without it the query through the virtual IP has no account",
            format!("create it with [client], user= and password=, owner root, and: chmod 600 {shown}"),
        )
    };
    // Of the open file and not of the path, which could be exchanged between the check and the reading.
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > MAX_SIZE {
        return Err(Failure::refused(
            format!("the credentials file {shown} is not a regular file of at most 64 KiB"),
            "it can't be an option file",
            "name an option file with [client], user= and password= in the configuration",
        ));
    }
    if metadata.uid() != 0 && metadata.uid() != geteuid().as_raw() {
        return Err(Failure::refused(
            format!("the credentials file {shown} belongs to user id {}", metadata.uid()),
            "its owner could put another account into it, or read this one",
            format!("chown root {shown}"),
        ));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(Failure::refused(
            format!("the credentials file {shown} has mode {:04o}", metadata.mode() & 0o7777),
            "others than its owner can get at the password",
            format!("chmod 600 {shown}, and change the password if others could have read it"),
        ));
    }
    let mut text = String::new();
    file.take(MAX_SIZE).read_to_string(&mut text).map_err(unreadable)?;
    parse(&text).ok_or_else(|| {
        Failure::failed(
            format!("the credentials file {shown} has no user in a [client] group"),
            "without a user name there is nobody to connect as",
            format!("write [client], user= and password= into {shown}"),
        )
    })
}

/// The `[client]` group of an option file; a later line wins over an earlier one, as the MySQL clients read it.
fn parse(text: &str) -> Option<Credentials> {
    let mut in_client = false;
    let mut user = None;
    let mut password = None;
    for line in text.lines().map(line::parse) {
        match line {
            Line::Group(group) => in_client = group == "client",
            Line::OpenGroup => in_client = false,
            Line::Option { name, value: Some(value) } if in_client => match name.as_str() {
                "user" => user = Some(value),
                "password" => password = Some(Password(value)),
                _ => {}
            },
            _ => {}
        }
    }
    user.filter(|user| !user.is_empty()).map(|user| Credentials { user, password })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::Permissions;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;
    use crate::failure::FailureKind;

    fn parsed(text: &str) -> (String, Option<String>) {
        let credentials = parse(text).unwrap();
        (credentials.user, credentials.password.map(|password| password.expose().to_owned()))
    }

    #[test]
    fn reads_the_client_group_only() {
        let text = "user=nobody\n[mysqld]\nuser=mysql\n[client]\n# comment\nuser = standin\n\
                    password=\"se#cret \\\"x\\\"\" # why\n[mysqldump]\nuser=backup\n";
        assert_eq!(parsed(text), ("standin".into(), Some("se#cret \"x\"".into())));
    }

    #[test]
    fn unquoted_quoted_and_escaped_values() {
        assert_eq!(parsed("[client]\nuser=a\npassword=p#c").1.unwrap(), "p");
        assert_eq!(parsed("[client]\nuser=a\npassword=p\\#c").1.unwrap(), "p\\", "as the clients read it");
        assert_eq!(parsed("[client]\nuser='a'\npassword='p\\sq'").1.unwrap(), "p q");
        assert_eq!(parsed("[client]\nuser=a"), ("a".into(), None));
        assert_eq!(parse("[client]\npassword=p"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn refuses_what_others_can_read() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"[client]\nuser=a\npassword=secret\n").unwrap();
        assert_eq!(read(file.path()).unwrap().user, "a");
        for mode in [0o640, 0o604, 0o660] {
            file.as_file().set_permissions(Permissions::from_mode(mode)).unwrap();
            let failure = read(file.path()).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Refused);
            assert!(!failure.to_string().contains("secret"));
        }
    }

    #[test]
    fn refuses_a_missing_file_and_a_directory() {
        assert!(read(Path::new("/nonexistent/standin.cnf")).is_err());
        assert!(read(&std::env::temp_dir()).is_err());
    }

    #[test]
    fn never_shows_the_password() {
        let credentials = parse("[client]\nuser=a\npassword=secret").unwrap();
        assert!(!format!("{credentials:?}").contains("secret"));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(?s).{0,200}") {
            let _ = parse(&text);
            let _ = parse(&format!("[client]\nuser={text}"));
        }
    }
}
