//! What a forecast of crash recovery is made from: the server's backlog and this node's recoveries.

use std::time::Duration;

use crate::config::Config;
use crate::forecast::Seen;
use crate::journal;
use crate::node::mysqld;

/// Looks at the server and at the journal. May block for about twice the limit, and no longer.
pub(super) fn look(config: &Config, limit: Duration) -> Seen {
    // Without its journal the forecast is a first estimate, which it says.
    let entries = journal::read(&journal::path(&config.name)).unwrap_or_default();
    let backlog = mysqld::backlog(&config.mysqld, config.vip.address.addr(), limit);
    Seen { backlog: backlog.into(), history: journal::recoveries(&entries) }
}
