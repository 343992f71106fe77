//! The three files of Heartbeat 3: `ha.cf`, `haresources` and `authkeys`.

mod authkeys;
mod ha_cf;
mod haresources;

pub use self::authkeys::{AuthKeys, Method, authkeys};
pub use self::ha_cf::{Directive, HaCf, ha_cf, time};
pub use self::haresources::{Group, HaResources, Resource, ServiceAddress, haresources, prefix_length};
