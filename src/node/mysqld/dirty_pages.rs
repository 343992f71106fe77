//! Writing InnoDB's dirty pages while the server still serves, so that a shutdown finds few of them.
//!
//! With `innodb_max_dirty_pages_pct` 0 the page cleaner writes all the time, as fast as `innodb_io_capacity` lets it. Under
//! load the pages never get to zero: what counts is that there are no fewer any more.

use std::thread;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, Error};

use super::{connect, datadir};
use crate::failure::Failure;
use crate::node::credentials::{self, Credentials};
use crate::node::{Applied, Attempt};
use crate::plan::{DirtyPagesLimits, ServerAccess};

/// Between two looks at the number of dirty pages; the page cleaner works in rounds of a second.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// No fewer pages for so long: what is left is what the clients dirty all the time. A disk that stalls takes seconds, and
/// waiting costs the clients nothing.
const STEADY: Duration = Duration::from_secs(10);
/// Fewer pages by this share of the least seen is what counts as fewer, so that noise does not.
const LESS: f64 = 0.98;
/// A shutdown writes so many in no time.
const FEW: u64 = 64;
/// Between two lines of progress.
const REPORT: Duration = Duration::from_secs(2);
/// ER_SPECIFIC_ACCESS_DENIED_ERROR.
const NOT_PERMITTED: u16 = 1227;

/// The limits of dirty pages as they are set now.
///
/// # Errors
/// In one sentence why they could not be read.
pub fn limits(server: &ServerAccess, limit: Duration) -> Result<DirtyPagesLimits, String> {
    let account = credentials::read(&server.credentials).map_err(|failure| failure.seen)?;
    let server = server.clone();
    datadir::within(limit, move || {
        let mut connection = connected(&server, &account, limit).map_err(|error| connect::said(&error))?;
        let row: Option<(f64, f64)> = connection
            .query_first(
                "SELECT @@GLOBAL.innodb_max_dirty_pages_pct, @@GLOBAL.innodb_max_dirty_pages_pct_lwm",
            )
            .map_err(|error| connect::said(&error))?;
        let (max, low_water_mark) = row.ok_or("the server does not tell its limits of dirty pages")?;
        Ok(DirtyPagesLimits { max: max.to_string(), low_water_mark: low_water_mark.to_string() })
    })
    .unwrap_or_else(|| Err(format!("the server did not answer within {} s", limit.as_secs())))
}

/// Lets the server write its dirty pages until there are few, or no fewer any more. The limits stay at zero: whoever does not
/// shut the server down afterwards sets them again with [`restore`].
///
/// An account that may not set them is a warning, and the deadline is not an error: a shutdown only takes longer.
///
/// # Errors
/// The server does not answer any more, or the attempt was cancelled.
pub fn flush(server: &ServerAccess, attempt: &Attempt) -> Result<Applied, Failure> {
    let account = credentials::read(&server.credentials)?;
    let mut connection = connected(server, &account, ANSWER).map_err(|error| unanswered(&error))?;
    let begun = Instant::now();
    let first = dirty(&mut connection)?;
    match set(&mut connection, "0", "0") {
        Ok(()) => {}
        Err(Error::MySqlError(error)) if error.code == NOT_PERMITTED => {
            if first <= FEW {
                return Ok(Applied::already_so());
            }
            return Ok(Applied::already_so().warning(format!(
                "{first} dirty pages are not written beforehand, so that the shutdown takes longer: the account {} may not set \
                 innodb_max_dirty_pages_pct (it needs SYSTEM_VARIABLES_ADMIN in MySQL, SUPER in MariaDB)",
                account.user
            )));
        }
        Err(error) => return Err(unanswered(&error)),
    }
    let mut falling = Falling { least: first, since: begun };
    let mut told = begun;
    loop {
        let now = dirty(&mut connection)?;
        if attempt.is_cancelled() {
            return Err(Failure::failed(
                "the flush was cut short",
                "the switchover does not go on",
                "run it again when it may",
            ));
        }
        let took = begun.elapsed().as_secs_f64();
        if falling.is_over(now, Instant::now()) {
            return Ok(Applied::done().note(format!("{first} dirty pages, {now} left after {took:.1} s")));
        }
        if attempt.remaining() <= LOOK_AGAIN {
            return Ok(Applied::done().note(format!("{first} dirty pages, {now} left")).warning(format!(
                "they still became fewer when the time for it was over ({took:.0} s); a larger innodb_io_capacity writes faster"
            )));
        }
        if told.elapsed() >= REPORT {
            attempt.report(&format!("{now} dirty pages of {first}"));
            told = Instant::now();
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Sets the limits again.
///
/// # Errors
/// The server does not answer or refuses.
pub fn restore(server: &ServerAccess, was: &DirtyPagesLimits, attempt: &Attempt) -> Result<Applied, Failure> {
    let account = credentials::read(&server.credentials)?;
    let limit = attempt.remaining().max(LOOK_AGAIN);
    let mut connection = connected(server, &account, limit).map_err(|error| unanswered(&error))?;
    set(&mut connection, &was.max, &was.low_water_mark).map_err(|error| unanswered(&error))?;
    Ok(Applied::done())
}

/// For one answer of a server that serves.
const ANSWER: Duration = Duration::from_secs(5);

fn connected(server: &ServerAccess, account: &Credentials, limit: Duration) -> Result<Conn, Error> {
    connect::over_socket_or_address(&server.socket, (server.vip, server.port), account, limit)
}

/// The values come from a plan, which may have been read from a file: nothing but numbers gets into the statement.
fn set(connection: &mut Conn, max: &str, low_water_mark: &str) -> Result<(), Error> {
    let number = |text: &str| text.parse::<f64>().unwrap_or_default().clamp(0.0, 99.999);
    connection.query_drop(format!("SET GLOBAL innodb_max_dirty_pages_pct = {}", number(max)))?;
    // The server lowers it together with the other one, and never raises it.
    connection.query_drop(format!("SET GLOBAL innodb_max_dirty_pages_pct_lwm = {}", number(low_water_mark)))
}

fn dirty(connection: &mut Conn) -> Result<u64, Failure> {
    let row: Result<Option<(String, u64)>, Error> =
        connection.query_first("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'");
    match row {
        Ok(Some((_, pages))) => Ok(pages),
        Ok(None) => Err(Failure::failed(
            "the server does not tell how many pages are dirty",
            "how long its shutdown would take can't be known",
            "switch over without the flush: standin switchover --no-flush",
        )),
        Err(error) => Err(unanswered(&error)),
    }
}

fn unanswered(error: &Error) -> Failure {
    Failure::failed(
        format!("mysqld does not do what it is asked: {error}"),
        "a switchover moves a service that works",
        "see its error log; to switch over without asking it: standin switchover --no-flush",
    )
}

/// Whether the pages become fewer.
#[derive(Debug)]
struct Falling {
    least: u64,
    since: Instant,
}

impl Falling {
    fn is_over(&mut self, pages: u64, now: Instant) -> bool {
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52 pages")]
        if (pages as f64) < self.least as f64 * LESS {
            *self = Self { least: pages, since: now };
        }
        pages <= FEW || now.saturating_duration_since(self.since) >= STEADY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_when_there_are_few_or_no_fewer_for_a_while() {
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let mut falling = Falling { least: 10_000, since: begun };
        assert!(!falling.is_over(9000, at(2)));
        assert!(!falling.is_over(8990, at(11)), "a disk that stalls for nine seconds");
        assert!(falling.is_over(8950, at(12)), "a trickle is what the clients dirty");

        let mut falling = Falling { least: 10_000, since: begun };
        assert!(!falling.is_over(10_000, at(2)));
        assert!(falling.is_over(FEW, at(2)));
    }
}
