//! Failover of a two-node InnoDB cluster on DRBD: observe, decide, execute.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`config`] | one YAML file per cluster, every value checked once |
//! | [`observation`] | what one look at this node saw |
//! | [`decide`] | pure: observation + configuration → a plan or a refusal, with its reason |
//! | [`pause`] | the file that keeps the agents from acting by themselves |
//! | [`plan`] | the steps, the commands behind them, and how each is undone |
//! | [`execute`] | walks a plan: deadlines, journal, undo, stuck |
//! | [`journal`] | what was done when, as JSON lines; the history of takeovers |
//! | [`node`] | the only code that touches the machine |
//! | [`audit`] | which storage engines hold the data |
//! | [`doctor`] | every precondition of a takeover, each with its remedy |
//! | [`forecast`] | pure: how long crash recovery would take now |
//! | [`foreign`] | parsers of other programs' files |
//! | [`fuzz`] | every parser of foreign bytes by name, for fuzzing |
//! | [`init`] | pure: what was found and answered → the first configuration |
//! | [`frontends`] | the command line |
//!
//! `decide`, `plan` and `audit::verdict` never import `node`.

pub mod audit;
pub mod config;
pub mod decide;
pub mod doctor;
pub mod execute;
pub mod failure;
pub mod forecast;
pub mod foreign;
pub mod frontends;
#[doc(hidden)]
pub mod fuzz;
pub mod init;
pub mod journal;
pub mod node;
pub mod observation;
pub mod pause;
pub mod plan;
