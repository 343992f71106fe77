use proptest::prelude::*;

use super::*;

fn events(log: &str) -> Vec<Event> {
    log.lines().filter_map(parse_line).collect()
}

#[test]
fn mariadb_crash_recovery_in_several_batches() {
    let log = "\
2026-11-20  5:10:54 0 [Note] Starting MariaDB 10.11.19-MariaDB-0+deb12u1 source revision 5843d847 server_uid fXdYp7Z= as process 4505
2026-11-20  5:10:54 0 [Note] InnoDB: Compressed tables use zlib 1.2.13
2026-11-20  5:10:54 0 [Note] InnoDB: Using io_uring
2026-11-20  5:10:54 0 [Note] InnoDB: Completed initialization of buffer pool
2026-11-20  5:10:54 0 [Note] InnoDB: Starting crash recovery from checkpoint LSN=593391415
2026-11-20  5:10:55 0 [Note] InnoDB: Multi-batch recovery needed at LSN 643014471
2026-11-20  5:10:55 0 [Note] InnoDB: End of log at LSN=875362651
2026-11-20  5:10:55 0 [Note] InnoDB: To recover: LSN 643014471/875362651; 812 pages
2026-11-20  5:10:55 0 [Note] InnoDB: 1 transaction(s) which must be rolled back or cleaned up in total 149999 row operations to undo
2026-11-20  5:10:55 0 [Note] InnoDB: Trx id counter is 38
2026-11-20  5:10:55 0 [Note] InnoDB: To recover: 377 pages
2026-11-20  5:10:55 0 [Note] InnoDB: 128 rollback segments are active.
2026-11-20  5:10:55 0 [Note] InnoDB: Starting in background the rollback of recovered transactions
2026-11-20  5:10:55 0 [Note] InnoDB: Buffer pool(s) load completed at 261120  5:10:55
2026-11-20  5:10:55 0 [Note] mariadbd: ready for connections.
Version: '10.11.19-MariaDB-0+deb12u1'  socket: '/run/mysqld/mysqld.sock'  port: 0  Debian 12
2026-11-20  5:10:57 0 [Note] InnoDB: Rolled back recovered transaction 36
2026-11-20  5:10:57 0 [Note] InnoDB: Rollback of non-prepared transactions completed
";
    assert_eq!(
        events(log),
        [
            Event::Starting(Some(4505)),
            Event::RecoveryStarted(Some(593_391_415)),
            Event::EndOfLog(875_362_651),
            Event::Pages { pages: 812, position: Some((643_014_471, 875_362_651)) },
            Event::ToRollBack { transactions: 1, rows: 149_999 },
            Event::Pages { pages: 377, position: None },
            Event::Ready,
            Event::RolledBack,
        ]
    );
}

#[test]
fn mariadb_shutdown() {
    let log = "\
2026-11-20  5:11:02 0 [Note] mariadbd (initiated by: unknown): Normal shutdown
2026-11-20  5:11:02 0 [Note] InnoDB: FTS optimize thread exiting.
2026-11-20  5:11:02 0 [Note] InnoDB: Starting shutdown...
2026-11-20  5:11:02 0 [Note] InnoDB: Dumping buffer pool(s) to /srv/db/ib_buffer_pool
2026-11-20  5:11:02 0 [Note] InnoDB: Restricted to 1014 pages due to innodb_buf_pool_dump_pct=25
2026-11-20  5:11:02 0 [Note] InnoDB: Buffer pool(s) dump completed at 261120  5:11:02
2026-11-20  5:11:02 0 [Note] InnoDB: Removed temporary tablespace data file: \"./ibtmp1\"
2026-11-20  5:11:02 0 [Note] Shutdown completed; log sequence number 979828185; transaction id 41
2026-11-20  5:11:02 0 [Note] mariadbd: Shutdown complete
";
    let events = events(log);
    assert_eq!(events.first(), Some(&Event::ShutdownStarted));
    assert_eq!(events.last(), Some(&Event::ShutdownDone));
    assert_eq!(events.len(), 7);
    assert!(events[1..6].iter().all(|event| matches!(event, Event::ShutdownStep(_))));
}

#[test]
fn what_a_start_says_as_well_is_no_shutdown() {
    let log = "\
2026-11-20  5:10:55 0 [Note] InnoDB: Removed temporary tablespace data file: \"./ibtmp1\"
2026-11-20  5:10:55 0 [Note] InnoDB: Waiting for purge to start
";
    assert_eq!(events(log), []);
}

#[test]
fn mariadb_errors() {
    let log = "\
2026-11-20  5:11:20 0 [ERROR] InnoDB: File ./ib_logfile0 was not found
2026-11-20  5:11:20 0 [ERROR] Unknown/unsupported storage engine: InnoDB
2026-11-20  5:11:21 0 [ERROR] mariadbd: Can't lock aria control file '/srv/db/aria_log_control' for exclusive use, error: 11. Will retry for 30 seconds
";
    let events = events(log);
    assert_eq!(events.len(), 3);
    assert_eq!(events[0], Event::Error("InnoDB: File ./ib_logfile0 was not found".into()));
    assert!(events[2].to_string().contains("Can't lock aria control file"));
}

#[test]
fn older_mariadb_wording() {
    assert_eq!(
        parse_line(
            "2022-01-01 10:00:00 0 [Note] InnoDB: Starting final batch to recover 1021 pages from redo log."
        ),
        Some(Event::Pages { pages: 1021, position: None })
    );
    assert_eq!(
        parse_line("2022-01-01 10:00:00 0 [Note] InnoDB: Read redo log up to LSN=1447834"),
        Some(Event::Scanned(1_447_834))
    );
    assert_eq!(
        parse_line("2022-01-01 10:00:15 0 [Note] InnoDB: To roll back: 1 transactions, 149999 rows"),
        Some(Event::ToRollBack { transactions: 1, rows: 149_999 })
    );
}

#[test]
fn mysql_8_crash_recovery() {
    let log = "\
2021-04-05T13:34:49.065922Z 0 [System] [MY-010116] [Server] /usr/sbin/mysqld (mysqld 8.0.24) starting as process 31460
2021-04-05T13:34:50.065922Z 1 [Note] [MY-012560] [InnoDB] The log sequence number 66721837640536 in the system tablespace does not match the log sequence number 67437848865241 in the ib_logfiles!
2021-04-05T13:34:50.066054Z 1 [Note] [MY-012551] [InnoDB] Database was not shutdown normally!
2021-04-05T13:34:50.066161Z 1 [Note] [MY-012552] [InnoDB] Starting crash recovery.
2021-04-05T13:34:50.120944Z 1 [Note] [MY-013086] [InnoDB] Starting to parse redo log at lsn = 67437848864827, whereas checkpoint_lsn = 67437848865241
2021-04-05T13:34:50.244421Z 1 [Note] [MY-012550] [InnoDB] Doing recovery: scanned up to log sequence number 67437854107648
2021-04-05T13:34:51.893779Z 0 [Note] [MY-012532] [InnoDB] Applying a batch of 1467 redo log records ...
2021-04-05T13:34:52.896068Z 0 [Note] [MY-012533] [InnoDB] 10%
2021-04-05T13:34:53.896068Z 0 [Note] [MY-012533] [InnoDB] 100%
2021-04-05T13:34:54.409674Z 0 [Note] [MY-012535] [InnoDB] Apply batch completed!
2021-04-05T13:34:54.960638Z 0 [System] [MY-010931] [Server] /usr/sbin/mysqld: ready for connections. Version: '8.0.24'  socket: '/run/mysqld/mysqld.sock'  port: 3306  MySQL Community Server - GPL.
";
    assert_eq!(
        events(log),
        [
            Event::Starting(Some(31460)),
            Event::RecoveryStarted(None),
            Event::Checkpoint(67_437_848_865_241),
            Event::Scanned(67_437_854_107_648),
            Event::Records(Some(1467)),
            Event::Percent(10),
            Event::Percent(100),
            Event::BatchDone,
            Event::Ready,
        ]
    );
}

#[test]
fn mysql_8_errors_and_shutdown() {
    let line =
        "2021-09-03T07:11:14.211528Z 1 [ERROR] [MY-012574] [InnoDB] Unable to lock ./ibdata1 error: 11";
    assert_eq!(parse_line(line), Some(Event::Error("Unable to lock ./ibdata1 error: 11".into())));
    let line = "2021-09-03T07:11:14.21Z 0 [System] [MY-013172] [Server] Received SHUTDOWN from user <via user signal>. Shutting down mysqld (Version: 8.0.24).";
    assert_eq!(parse_line(line), Some(Event::ShutdownStarted));
    let line = "2021-09-03T07:11:15.21Z 0 [System] [MY-010910] [Server] /usr/sbin/mysqld: Shutdown complete (mysqld 8.0.24)  MySQL Community Server - GPL.";
    assert_eq!(parse_line(line), Some(Event::ShutdownDone));
    // The X plugin is ready before the server is.
    let line = "2021-09-03T07:11:14Z 0 [System] [MY-011323] [Server] X Plugin ready for connections. Socket: /tmp/mysqlx.sock";
    assert_eq!(parse_line(line), None);
}

#[test]
fn mysql_5_7_wording() {
    assert_eq!(
        parse_line(
            "2019-01-01T10:00:00.1Z 0 [Note] InnoDB: Doing recovery: scanned up to log sequence number 374340608 (12%)"
        ),
        Some(Event::Scanned(374_340_608))
    );
    assert_eq!(
        parse_line(
            "InnoDB: 1 transaction(s) which must be rolled back or cleaned up in total 561887 row operations to undo"
        ),
        Some(Event::ToRollBack { transactions: 1, rows: 561_887 })
    );
}

proptest! {
    #[test]
    fn garbage_is_survived(line in ".{0,300}") {
        let _ = parse_line(&line).map(|event| event.to_string());
    }

    #[test]
    fn cut_and_mixed_lines_are_survived(
        start in prop::sample::select(vec![
            "InnoDB: To recover: LSN ", "InnoDB: To recover: ", "[Note] [MY-012533] [InnoDB] ", "[ERROR] [MY-",
            "[Note] InnoDB: To roll back: ", "[Note] InnoDB: End of log at LSN=", " starting as process ", "[MY-[Note]",
        ]),
        rest in "[0-9/;%a-zé \\[\\]]{0,40}",
    ) {
        let _ = parse_line(&format!("{start}{rest}"));
    }
}
