//! How long-running work says how far it is, and is told to stop.

/// Called from several threads at once, often: implementations should be quick.
pub trait Progress: Sync {
    /// A step begins; `bytes` is its size, when that is known.
    fn begin(&self, _step: &'static str, _bytes: Option<u64>) {}
    /// So many more bytes were dealt with.
    fn advance(&self, _bytes: u64) {}
    /// Asked now and then; `true` ends the work with an error, and what it made is removed.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Says nothing, never stops.
impl Progress for () {}
