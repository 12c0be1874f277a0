//! The fetcher: one process per store that brings objects which are not here yet, those that somebody waits for first.
//!
//! It alone requests contents for views. A server of views, or a command, connects to its socket, names an object and
//! waits; the object is then in the store for every process. It is started by the first that needs it, and ends when
//! nothing is left to do, or nobody has asked it for a while. It can be killed at any time: objects that are here stay
//! here, and the next fetcher goes on.
//!
//! | file | contents |
//! |------|----------|
//! | `catalog` | the pieces that sources name, and the remotes that have them |
//! | `engine`, `place` | the process: its lanes, its socket, and its files in the store |
//! | `trees` | trees that complete themselves, or are waited for as a whole |
//! | `work`, `health` | the order of work, without input or output; remotes that do not answer |
//! | `limits` | how long is waited for which remote |
//! | `lane` | requests for pieces, and their way into the store |
//! | `connection`, `call` | the socket: its lines, and a command's side of it |
//! | `missing` | how much of a tree is here |

mod call;
mod catalog;
mod connection;
mod engine;
mod health;
mod lane;
mod limits;
mod missing;
mod place;
mod trees;
mod work;

pub use self::call::{bring, complete, start};
pub use self::engine::{FetcherOptions, run};
pub use self::missing::IncompleteTrees;
/// For tests of the order of work.
#[cfg(all(test, feature = "remote"))]
pub mod testing {
    pub use super::limits::FetcherLimits;
    pub use super::missing::silent_remotes;
    pub use super::work::{Asker, Request, Work};
}
