//! What tests and tools of this project share: clusters that clean up after themselves, fixture
//! images made of Debian's packages, and the real clients that drive it all.
//!
//! Everything a test needs from packages is installed here, with one line that says so.

#[cfg(feature = "clusters")]
mod cluster;
#[cfg(feature = "clusters")]
pub mod containerd;
#[cfg(feature = "clusters")]
pub mod debs;
#[cfg(feature = "clusters")]
mod enclosure;
pub mod hostile;
#[cfg(feature = "clusters")]
pub mod images;
#[cfg(feature = "clusters")]
mod interrupt;
pub mod packages;
#[cfg(feature = "clusters")]
mod pods;
#[cfg(feature = "clusters")]
pub mod python;
mod runner;
#[cfg(feature = "clusters")]
mod spawned;
#[cfg(feature = "clusters")]
pub mod streams;
#[cfg(feature = "clusters")]
pub mod systemd;
#[cfg(feature = "clusters")]
mod terminal;
#[cfg(feature = "clusters")]
pub mod tools;
#[cfg(feature = "clusters")]
pub mod upstream;
#[cfg(feature = "clusters")]
pub mod wait;
#[cfg(feature = "clusters")]
mod youki;

#[cfg(feature = "clusters")]
pub use cluster::{CALM, Cluster, Options, PATIENCE, RUNTIME, cgroup, http_get_within, memory_limit_file};
#[cfg(feature = "clusters")]
pub use enclosure::{Enclosure, clear, hierarchies};
#[cfg(feature = "clusters")]
pub use interrupt::{Here, clean_up_when_interrupted};
#[cfg(feature = "clusters")]
pub use pods::{BUSYBOX, Pod};
pub use runner::{Outcome, full, run, run_with_input};
#[cfg(feature = "clusters")]
pub use spawned::Spawned;
#[cfg(feature = "clusters")]
pub use terminal::Terminal;
#[cfg(feature = "clusters")]
pub use youki::youki;
