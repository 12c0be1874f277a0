//! How long-running work reports its progress, and is cancelled.

/// Called from several threads at once, often: implementations should be quick.
pub trait Progress: Sync {
    /// A step begins; `bytes` is its size, when that is known.
    fn begin(&self, _step: &'static str, _bytes: Option<u64>) {}
    /// This step has more files and bytes to deal with, which were just found.
    fn expect(&self, _files: u64, _bytes: u64) {}
    /// More bytes were dealt with.
    fn advance(&self, _bytes: u64) {}
    /// As [`Progress::advance`], and with them one file.
    fn advance_file(&self, bytes: u64) {
        self.advance(bytes);
    }
    /// Called now and then; `true` ends the work with an error, and its files are removed.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Reports nothing, never cancels.
impl Progress for () {}
