//! What a real server says of itself.

use std::fs::{self, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use mysql::prelude::Queryable;
use standin::node::credentials;
use standin::node::mysqld::variables::{self, Refusal};

use crate::server::{LONG, Server};

#[test]
#[ignore = "needs mariadbd"]
fn a_server_tells_what_was_set_and_where_its_files_are() {
    let server = Server::installed();
    server.start(LONG).unwrap();
    let elsewhere = server.directory.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let owner = fs::metadata(server.datadir()).unwrap();
    chown(&elsewhere, Some(owner.uid()), Some(owner.gid())).unwrap();
    let mut connection = server.connect();
    connection.query_drop("SET GLOBAL max_connections = 17").unwrap();
    connection.query_drop("CREATE DATABASE d").unwrap();
    let table = format!("CREATE TABLE d.t (id INT) DATA DIRECTORY = '{}'", elsewhere.display());
    connection.query_drop(table).unwrap();

    let file = server.directory.path().join("account.cnf");
    let account = |user: &str| {
        fs::write(&file, format!("[client]\nuser={user}\n")).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        credentials::read(&file).unwrap()
    };
    assert!(variables::answers(&server.socket(), LONG));
    let address = (Ipv4Addr::LOCALHOST, server.port);
    let told = variables::ask(&server.socket(), address, &account("root"), LONG).unwrap();
    assert_eq!(told.variables["max_connections"], "17");
    assert_eq!(told.variables["port"], server.port.to_string());
    assert_eq!(told.set_at_run_time["max_connections"].as_deref(), Some("151"));
    assert_eq!(told.data_files, [elsewhere.join("d/t.ibd")]);

    let refused = variables::ask(&server.socket(), address, &account("nobody-of-this-name"), LONG);
    assert!(matches!(refused, Err(Refusal::Login(_))), "{refused:?}");
}
