//! A team's remote: one object store (a directory, an S3 bucket) in which machines share artifacts.
//!
//! Every remote object is created only if it is absent, and never changed. Readers never list: an entry's name is known
//! from the component's key or from the commit, and the entry names every further object.
//!
//! ```text
//! <url>/depsfs/1/
//!   remote.json                                the format's version, and how many days objects are kept
//!   packs/<yyyymm>/<PackId>                    a pack in zstd frames with a seek table ([`frames`], [`pack`])
//!   objects/<yyyymm>/<ObjectId>[.n]            a file over 8 MiB, in zstd, in parts
//!   trees/<yyyymm>/<TreeId>                    a tree, in zstd
//!   times/<yyyymm>/<hash>                      the times of tracked files ([`times`]), in zstd
//!   lines/<line>/entries/<name>                an entry ([`entry`]): a component's artifact
//!   lines/<line>/commits/<commit>-<platform>   an entry: the artifact directories of a commit
//! ```
//!
//! | file | contents |
//! |------|----------|
//! | `spec` | a remote as configuration declares it |
//! | `no_client` | the client of a depsfs that was built without remotes |
//! | `prune` | the deletion of old entries |
//! | `client` | requests to the object store: the only file that names its crate and tokio |
//! | `limits`, `bandwidth` | how long a read waits for a remote, and how many bytes come from it in a second |
//! | `credentials` | the source of a bucket's credentials |
//! | `layout` | the names of remote objects |
//! | `frames`, `pack`, `entry`, `times` | the formats |
//! | `secrets` | files that are never pushed |
//! | `sign` | signatures of entries, by `ssh-keygen` |
//! | `opened` | one remote with its client: set up, checked, read |
//! | `push`, `upload` | a tree of the store becomes an entry of the remote |
//! | `empty` | commits whose entries name no directories |
//! | `fetch`, `team` | an entry of one of the remotes becomes an entry of the store |
//! | `lazy`, `source`, `fetcher/` | the same with contents that come later: their source, and the process that brings them |
//!
//! Nothing that arrives is used before it was compared with its name: objects, trees and packs are named by their
//! hashes, an entry holds its own name and line, and is signed where signers are set.

#[cfg(feature = "remote")]
mod bandwidth;
#[cfg(feature = "remote")]
mod client;
#[cfg(not(feature = "remote"))]
#[path = "no_client.rs"]
mod client;
#[cfg(feature = "remote")]
mod credentials;
mod empty;
mod entry;
mod error;
mod fetch;
pub mod fetcher;
mod frames;
mod layout;
mod lazy;
mod limits;
mod opened;
mod pack;
mod prune;
mod push;
#[cfg(all(test, feature = "remote"))]
#[path = "tests/round_trip.rs"]
mod round_trip;
mod secrets;
mod sign;
mod source;
mod spec;
mod team;
mod times;
mod upload;

pub use entry::{RemoteCheckout, RemoteProvenance};
pub use error::RemoteError;
pub use layout::{commit_place, entry_place};
pub use lazy::{inherit_source, inherit_sources};
pub use limits::RemoteLimits;
pub use opened::OpenRemote;
pub use push::{PushItem, PushOptions, PushOutcome, Pusher};
pub use spec::{Address, Completion, RemoteSpec, RemoteTable, UserRemote};
pub use team::{Received, Search, Team};
pub use times::{TrackedTime, TrackedTimes};
