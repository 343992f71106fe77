//! What a crash recovery would have to do if the machine lost power now: asked of the server, else taken from the sizes of its
//! redo log's files.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use mysql::prelude::Queryable;
use mysql::{Conn, Error};

use super::datadir;
use super::variables::{Refusal, asked};
use crate::config::MysqldConfig;
use crate::forecast::Backlog;
use crate::node::credentials;

/// Status variables that any account may see: MariaDB since 10.5 has the first three, MySQL since 8.0.30 the next two.
const ASKED: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Innodb_checkpoint_age', 'Innodb_lsn_current', \
                     'Innodb_lsn_last_checkpoint', 'Innodb_redo_log_current_lsn', 'Innodb_redo_log_checkpoint_lsn', \
                     'Innodb_buffer_pool_pages_dirty', 'Innodb_buffer_pool_pages_total', 'Innodb_page_size')";

/// What the server told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Told {
    redo_bytes: Option<u64>,
    dirty_pages: Option<u64>,
    buffer_pool_bytes: Option<u64>,
}

/// Looks at the server, and at its files when it does not tell. Ends within about twice the limit, even when it is hung or the disk
/// under it is dead.
///
/// # Errors
/// Neither the server nor its files tell, with the causes in one sentence.
pub fn backlog(mysqld: &MysqldConfig, vip: Ipv4Addr, limit: Duration) -> Result<Backlog, String> {
    let (told, cause) = match ask(mysqld, vip, limit) {
        Ok(told) => {
            let Told { redo_bytes, dirty_pages, buffer_pool_bytes } = told;
            if let Some(redo_bytes) = redo_bytes {
                return Ok(Backlog { redo_bytes, dirty_pages, buffer_pool_bytes, only_files_because: None });
            }
            let cause =
                "the account may not see the log sequence numbers, which takes GRANT PROCESS on this version";
            (told, cause.to_owned())
        }
        Err(cause) => (Told::default(), cause),
    };
    let directory = mysqld.datadir.clone();
    let size = datadir::within(limit, move || redo_files(&directory));
    let shown = mysqld.datadir.display();
    match size {
        Some(Ok(Some(redo_bytes))) => {
            let Told { dirty_pages, buffer_pool_bytes, .. } = told;
            Ok(Backlog { redo_bytes, dirty_pages, buffer_pool_bytes, only_files_because: Some(cause) })
        }
        Some(Ok(None)) => Err(format!("{cause}, and there is no redo log in {shown}")),
        Some(Err(error)) => Err(format!("{cause}, and the redo log in {shown} can't be looked at: {error}")),
        None => Err(format!("{cause}, and the disk under {shown} does not answer")),
    }
}

fn ask(mysqld: &MysqldConfig, vip: Ipv4Addr, limit: Duration) -> Result<Told, String> {
    let Some(file) = &mysqld.credentials else {
        return Err("no credentials are configured".to_owned());
    };
    let account = credentials::read(file).map_err(|failure| failure.seen)?;
    asked(&mysqld.socket, (vip, mysqld.port), &account, limit, tell).map_err(|refusal| match refusal {
        Refusal::Login(cause) => format!("the server denies the account in {}: {cause}", file.display()),
        Refusal::Other(cause) => format!("the server can't be asked: {cause}"),
    })
}

fn tell(connection: &mut Conn) -> Result<Told, Error> {
    let rows: Vec<(String, String)> = connection.query(ASKED)?;
    let mut told = of_variables(&rows);
    if told.redo_bytes.is_none() {
        // Denied to an account without PROCESS.
        let text: Result<Option<(String, String, String)>, Error> =
            connection.query_first("SHOW ENGINE INNODB STATUS");
        told.redo_bytes = text.ok().flatten().and_then(|(_, _, text)| of_status(&text));
    }
    Ok(told)
}

fn of_variables(rows: &[(String, String)]) -> Told {
    let values: BTreeMap<String, u64> = rows
        .iter()
        .filter_map(|(name, value)| Some((name.to_ascii_lowercase(), value.trim().parse().ok()?)))
        .collect();
    let value = |name| values.get(name).copied();
    let between = |end, begin| Some(value(end)?.saturating_sub(value(begin)?));
    Told {
        redo_bytes: value("innodb_checkpoint_age")
            .or_else(|| between("innodb_lsn_current", "innodb_lsn_last_checkpoint"))
            .or_else(|| between("innodb_redo_log_current_lsn", "innodb_redo_log_checkpoint_lsn")),
        dirty_pages: value("innodb_buffer_pool_pages_dirty"),
        buffer_pool_bytes: value("innodb_buffer_pool_pages_total")
            .zip(value("innodb_page_size"))
            .map(|(pages, size)| pages.saturating_mul(size)),
    }
}

/// From the text of SHOW ENGINE INNODB STATUS; its lines are the same in all versions.
fn of_status(text: &str) -> Option<u64> {
    let lsn = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    Some(lsn("Log sequence number")?.saturating_sub(lsn("Last checkpoint at")?))
}

/// The size of the redo log's files in bytes; none when there are none.
///
/// MySQL since 8.0.30 keeps spare files, which hold nothing that is needed.
fn redo_files(directory: &Path) -> io::Result<Option<u64>> {
    let mut size = None;
    let mut add = |directory: &Path, is_log: fn(&str) -> bool| -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(is_log) {
                size = Some(size.unwrap_or(0_u64).saturating_add(entry.metadata()?.len()));
            }
        }
        Ok(())
    };
    add(directory, |name| name.starts_with("ib_logfile"))?;
    match add(&directory.join("#innodb_redo"), |name| name.starts_with("#ib_redo") && !name.ends_with("_tmp"))
    {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(size),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(rows: &[(&str, &str)]) -> Told {
        let rows: Vec<(String, String)> =
            rows.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        of_variables(&rows)
    }

    #[test]
    fn the_variables_of_each_server_are_understood() {
        let pages = ("Innodb_buffer_pool_pages_dirty", "17");
        let wanted = Told { redo_bytes: Some(300), dirty_pages: Some(17), buffer_pool_bytes: None };
        assert_eq!(told(&[("Innodb_checkpoint_age", "300"), pages]), wanted, "MariaDB");
        let pool = [("Innodb_buffer_pool_pages_total", "8192"), ("Innodb_page_size", "16384")];
        assert_eq!(told(&pool).buffer_pool_bytes, Some(128 << 20));
        assert_eq!(told(&pool[..1]).buffer_pool_bytes, None);
        let lsns = [("Innodb_lsn_current", "1300"), ("Innodb_lsn_last_checkpoint", "1000"), pages];
        assert_eq!(told(&lsns), wanted);
        let lsns =
            [("Innodb_redo_log_current_lsn", "1300"), ("Innodb_redo_log_checkpoint_lsn", "1000"), pages];
        assert_eq!(told(&lsns), wanted, "MySQL since 8.0.30");
        assert_eq!(told(&[pages]), Told { redo_bytes: None, ..wanted }, "MySQL before");
        // The two are read one after the other.
        assert_eq!(
            told(&[("Innodb_lsn_current", "1000"), ("Innodb_lsn_last_checkpoint", "1003")]).redo_bytes,
            Some(0)
        );
        assert_eq!(told(&[("Innodb_checkpoint_age", "many")]), Told::default());
    }

    #[test]
    fn the_status_text_is_understood() {
        let old = "---\nLOG\n---\nLog sequence number 2592190\nLog flushed up to   2592190\n\
                   Pages flushed up to 2592190\nLast checkpoint at  2592181\n0 pending log flushes, 0 pending chkp writes\n";
        assert_eq!(of_status(old), Some(9));
        let new = "---\nLOG\n---\nLog sequence number          25049841\nLog buffer assigned up to    25049841\n\
                   Last checkpoint at           25048841\n17 log i/o's done, 0.00 log i/o's/second\n";
        assert_eq!(of_status(new), Some(1000));
        assert_eq!(of_status("no LOG section"), None);
    }

    #[test]
    fn the_files_of_each_server_are_summed() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, size: usize| fs::write(directory.path().join(name), vec![0; size]).unwrap();
        assert_eq!(redo_files(directory.path()).unwrap(), None);
        write("ibdata1", 5000);
        write("ib_logfile0", 100);
        assert_eq!(redo_files(directory.path()).unwrap(), Some(100));
        write("ib_logfile1", 30);
        assert_eq!(redo_files(directory.path()).unwrap(), Some(130));
        fs::remove_file(directory.path().join("ib_logfile0")).unwrap();
        fs::remove_file(directory.path().join("ib_logfile1")).unwrap();
        fs::create_dir(directory.path().join("#innodb_redo")).unwrap();
        write("#innodb_redo/#ib_redo7", 20);
        write("#innodb_redo/#ib_redo8", 3);
        write("#innodb_redo/#ib_redo9_tmp", 1000);
        assert_eq!(redo_files(directory.path()).unwrap(), Some(23));
        assert!(redo_files(&directory.path().join("missing")).is_err());
    }

    proptest! {
        #[test]
        fn garbage_is_survived(text in "(Log sequence number |Last checkpoint at |[0-9a-z \n]){0,20}") {
            let _ = of_status(&text);
        }
    }
}
