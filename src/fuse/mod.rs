//! A view as the kernel's FUSE protocol sees it: translation, and nothing else. The only layer that names `fuser`.
//!
//! | file              | contents                                                         |
//! |-------------------|------------------------------------------------------------------|
//! | `adapter`         | each request as a call on the overlay, each answer as a reply     |
//! | `connection`      | one connection, with the view that it shows                      |
//! | `handshake`       | the negotiation of kernel and view at the start                   |
//! | `passthrough`     | big files of the store that are read without the server           |
//! | `backing`         | the kernel's backing files of them, by number                     |
//! | `arrivals`        | threads that wait for absent objects                              |
//! | `blocking`        | the blocking pool: threads for work that waits for a disk         |
//! | `busy_poll`       | adaptive busy polling for the next request                        |
//! | `listing`         | directories, plain and with attributes                            |
//! | `attr`            | the kernel's and the overlay's words for the same things          |
//! | `errno`           | errors as error numbers                                           |
//! | `virtual_xattr`   | `user.depsfs.*`: queries and requests of the command line         |
//! | `offload`         | requests that take long, without making others wait              |
//! | `notices`         | invalidation of the kernel's cache                                |
//! | `pool`            | the workers of a server, and their assignment to connections     |
//! | `retained`        | requests that a dead server had read, on kernels that send none again |
//! | `resend`          | requests that a server may have carried out before it died        |
//! | `reply`           | outcomes as replies                                               |
//! | `requests`        | counters of requests, and a span of each for the log              |
//! | `session`         | the beginning of a connection, for its first server and any later |
//! | `worker`          | a thread that answers for one connection after another           |
//! | `worker_session`, `config` | the session that such a thread runs, and its configuration |
//!
//! **Zero-message opens.** `open`, `opendir`, `create` and `flush` are answered with ENOSYS once; from then on the
//! kernel opens files without a message, keeps their pages and listings, and sends no handles. So there is no state per
//! open file, and one server can take over from another. Views of few big files are the exception
//! (`passthrough`): there `open` is a message.
//!
//! **Everything is cached for a year**, absent names too: all changes pass through the view, so the kernel always
//! has them. Notices invalidate its cache after any other change (`notices`).

mod adapter;
mod arrivals;
mod attr;
mod backing;
mod blocking;
mod busy_poll;
mod config;
mod connection;
mod errno;
mod handshake;
mod listing;
mod notices;
mod offload;
mod passthrough;
mod pool;
mod reply;
mod requests;
mod resend;
mod retained;
mod session;
mod virtual_xattr;
mod worker;
mod worker_session;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use crate::overlay::Overlay;

pub use self::resend::Exchange;
pub use arrivals::ArrivalPool;
pub use blocking::Blocking;
pub use passthrough::{Passed, Passthrough};
pub use pool::Pool;
pub use retained::adopt as adopt_requests;
pub use session::{Caches, Session};

/// How long the kernel may keep names and attributes.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// The view that a session serves, and its callbacks.
pub struct ServedView {
    pub overlay: Arc<Overlay>,
    /// The keeper's number of the connection.
    pub connection: u64,
    pub id: String,
    pub facts: Arc<Facts>,
    /// How its files are opened.
    pub passthrough: Arc<Passthrough>,
    /// The user who mounted it; they and root may use `user.depsfs.*`.
    pub owner: u32,
    /// Answers requests that take long; one for all views of a server.
    pub blocking: Blocking,
    /// Waits for objects that are absent: apart, so that no request for a disk waits behind them.
    pub arrivals: ArrivalPool,
    /// Held while something is moved; a server that shall leave waits for it.
    pub whole: Arc<RenameGate>,
    /// The last exchange that the server before this one announced; `on_exchange` announces one of this server.
    pub exchange_before: Option<Exchange>,
    pub on_exchange: Box<dyn Fn(Exchange) + Send + Sync>,
    /// Called when the user has deleted the last name in the view's root, before that request is answered.
    pub on_emptied: Box<dyn Fn() + Send + Sync>,
    /// Called when the record of embedded paths was changed: relocated files show another path, or are others. Queues
    /// what the kernel must drop.
    pub on_relocated: Arc<dyn Fn() + Send + Sync>,
}

/// Read by each change that moves names, while it is made and answered.
pub type RenameGate = parking_lot::RwLock<()>;

/// The facts of a view that change with its grafts.
#[derive(Debug, Default)]
pub struct Facts {
    /// Of the manifest that it shows.
    pub generation: AtomicU64,
    /// Whether the view has names, now or in the store: only then can the user have deleted the last one.
    pub has_names: AtomicBool,
}
