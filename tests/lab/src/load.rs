//! A write load that keeps a full buffer pool dirty: one large table, all of whose pages are changed, and a trickle of changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use mysql::Conn;
use mysql::prelude::Queryable;

use crate::database::{Credentials, options};
use crate::lab::Lab;
use crate::network::VIP;
use crate::node::Node;

/// Where a node reads further options of the server.
pub const DROP_IN: &str = "/etc/mysql/mariadb.conf.d/99-test.cnf";

/// Dirty pages stay in a buffer pool that the table fills, until they are asked for.
pub const FULL_POOL: &str = "\
[mariadbd]
innodb_log_file_size        = 320M
innodb_buffer_pool_size     = 192M
innodb_buffer_pool_size_max = 192M
innodb_max_dirty_pages_pct  = 90
innodb_adaptive_flushing    = OFF
innodb_flush_neighbors      = 0
innodb_io_capacity          = 2000
";

/// Rows of the table, four to a page.
const ROWS: u32 = 40_000;
const BATCH: u32 = 5000;
/// For a change of all rows.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two rows of the trickle.
const PACE: Duration = Duration::from_millis(10);

/// Makes the table, and lets standin's account set the limits of dirty pages.
pub fn prepare(active: &Node) -> Result<()> {
    let run = |statement: &str| {
        let output = active.run_with_deadline(&format!("mariadb lab --execute \"{statement}\""), PATIENCE)?;
        anyhow::ensure!(output.success(), "{output}");
        Ok(())
    };
    run("GRANT SUPER ON *.* TO standin@localhost; GRANT SUPER ON *.* TO standin@'%'")?;
    run(
        "CREATE TABLE bulk (id INT PRIMARY KEY, n INT NOT NULL DEFAULT 0, payload VARCHAR(4000)) ENGINE = InnoDB",
    )?;
    for first in (1..=ROWS).step_by(BATCH as usize) {
        let last = first + BATCH - 1;
        run(&format!("INSERT INTO bulk SELECT seq, 0, REPEAT(MD5(seq), 118) FROM seq_{first}_to_{last}"))?;
    }
    Ok(())
}

/// Changes every row, and returns how many pages are dirty then.
pub fn dirty_all(active: &Node) -> Result<u64> {
    for first in (1..=ROWS).step_by(BATCH as usize) {
        let last = first + BATCH - 1;
        let update =
            format!("mariadb lab --execute 'UPDATE bulk SET n = n + 1 WHERE id BETWEEN {first} AND {last}'");
        let output = active.run_with_deadline(&update, PATIENCE)?;
        anyhow::ensure!(output.success(), "{output}");
    }
    dirty_pages(active)
}

/// How many pages are dirty.
pub fn dirty_pages(active: &Node) -> Result<u64> {
    status(active, "SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'")
}

/// The last word that a statement prints.
pub fn status<T: std::str::FromStr>(active: &Node, statement: &str) -> Result<T> {
    let text = active.run_ok(&format!("mariadb --skip-column-names --execute \"{statement}\""))?;
    let word = text.split_whitespace().last().with_context(|| format!("{statement} prints nothing"))?;
    word.parse().map_err(|_| anyhow!("{statement} prints {text:?}"))
}

/// A client that changes rows here and there, through the virtual address.
#[derive(Debug)]
pub struct Trickle {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Trickle {
    /// Starts it.
    pub fn start(lab: &Lab) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (network, ended) = (lab.network().clone(), stop.clone());
        let thread = thread::Builder::new()
            .name("trickle".to_owned())
            .spawn(move || network.enter(|| change_rows(&ended)))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends it.
    pub fn stop(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take() {
            Some(thread) => thread.join().map_err(|_| anyhow!("the trickle panicked"))?,
            None => Ok(()),
        }
    }
}

impl Drop for Trickle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn change_rows(ended: &AtomicBool) -> Result<()> {
    let mut connection: Option<Conn> = None;
    let mut id: u32 = 1;
    while !ended.load(Ordering::Relaxed) {
        // Spread over the table: a step that has no factor in common with its size.
        id = (id + 7919) % ROWS;
        let changed = match connection.as_mut() {
            None => Conn::new(options(VIP, Credentials::CLIENT)).map(|new| connection = Some(new)),
            Some(open) => open.exec_drop("UPDATE lab.bulk SET n = n + 1 WHERE id = ?", (id + 1,)),
        };
        if changed.is_err() {
            connection = None;
        }
        thread::sleep(PACE);
    }
    Ok(())
}
