//! Two nodes with real kernels, real DRBD and real MariaDB on one machine, for tests and the demonstration.
//!
//! A node is a User-Mode-Linux kernel, an ordinary process: cutting its power is SIGKILL. Everything runs in process,
//! network and mount namespaces of the lab's own, and nothing is left of them however the lab's owner ends.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use standin_lab::{Client, Lab, LabOptions};
//!
//! let lab = Lab::start(LabOptions::default())?;
//! lab.node1().serve()?;
//! let client = Client::start(&lab)?;
//! client.wait_for_rows(100)?;
//! lab.node1().power_cut()?;
//! let floor = lab.floor_takeover(lab.node2(), &client)?;
//! println!("back after {floor:?}, {} rows lost", client.stop()?.lost_rows(&lab)?.len());
//! # Ok(())
//! # }
//! ```
//!
//! | file | holds |
//! | --- | --- |
//! | `image` | the root file system and the golden disks, built when missing |
//! | `supervisor` | the namespaces, and the process that they live and die with |
//! | `registry` | run directories: which lab is alive, what a dead one left |
//! | `network` | addresses, pulling cables, partitions |
//! | `node`, `instance` | one machine: power, commands, files |
//! | `remote`, `protocol` | how a command gets into a node |
//! | `disks` | back to the golden disks |
//! | `database` | the bare commands of becoming active, and the floor that a takeover is measured against |
//! | `cluster` | standin on both nodes, as an operator would use it |
//! | `state` | all that a takeover or release changes on a node, as the kernel has it |
//! | `demo` | a power cut, the takeover, the way back |
//! | `manager`, `managers` | a cluster manager in the lab, and each of them |
//! | `sampler` | ten times a second who is Primary and who has the virtual address, from inside and outside |
//! | `scenario` | the parts of a cluster's life under its manager, with the logs of each run |
//! | `chaos` | random faults under load, what must hold throughout, and which refusals are justified |
//! | `false_alarms` | a healthy cluster that is strained, in which the agents must do nothing |
//! | `load` | a full buffer pool, and a trickle of changes |
//! | `compare`, `compare_managers`, `compare_monitors`, `compare_switchover` | how long it takes and what it costs, against what was there before |
//! | `client` | one row per commit through the virtual address, and what became of each |

pub mod chaos;
mod client;
mod cluster;
pub mod compare;
pub mod compare_managers;
pub mod compare_monitors;
pub mod compare_switchover;
mod database;
pub mod demo;
mod disks;
pub mod false_alarms;
mod image;
mod instance;
mod lab;
pub mod load;
mod manager;
pub mod managers;
mod network;
mod node;
mod protocol;
mod registry;
mod remote;
pub mod sampler;
pub mod scenario;
mod state;
mod supervisor;
mod wait;

pub use client::{Client, Outage, Report};
pub use cluster::{Cluster, ClusterOptions, Mysqld, binary};
pub use database::Credentials;
pub use image::{Filesystem, Image, image, package};
pub use lab::{Lab, LabOptions, with_lab};
pub use manager::Manager;
pub use network::{Network, VIP, VIP_PREFIX};
pub use node::{Node, Running};
pub use registry::{Run, find_run, runs};
pub use remote::Output;
pub use state::State;
pub use wait::wait_until;
