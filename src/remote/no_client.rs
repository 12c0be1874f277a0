//! The client of a depsfs that was built without remotes: there is none.

use std::convert::Infallible;
use std::ops::Range;

use super::error::Fetched;
use super::layout::ObjectStat;
use super::limits::ClientLimits;
use super::{RemoteError, RemoteSpec};

/// A client that no value exists of.
pub struct NoClient(Infallible);

pub use NoClient as Client;

/// The calls of the client that requests; none can be made.
impl NoClient {
    /// There is no client.
    ///
    /// # Errors
    /// Always: [`RemoteError::NotBuilt`].
    pub fn open(_: &RemoteSpec, _: ClientLimits) -> Result<NoClient, RemoteError> {
        Err(RemoteError::NotBuilt)
    }

    /// No requests.
    pub fn traffic(&self) -> (u64, u64, u64) {
        match self.0 {}
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// None: there is no client.
    pub fn get(&self, _: &str, _: Option<Range<u64>>, _: u64) -> Fetched {
        match self.0 {}
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// None: there is no client.
    pub fn probe(&self, _: &[String], _: u64) -> Result<Vec<Fetched>, RemoteError> {
        match self.0 {}
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// None: there is no client.
    pub fn create(&self, _: &str, _: Vec<u8>) -> Result<bool, RemoteError> {
        match self.0 {}
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// None: there is no client.
    pub fn stat(&self, _: &str) -> Result<Option<ObjectStat>, RemoteError> {
        match self.0 {}
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// None: there is no client.
    pub fn list(&self, _: &str) -> Result<Vec<(String, ObjectStat)>, RemoteError> {
        match self.0 {}
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// None: there is no client.
    pub fn delete(&self, _: &str) -> Result<(), RemoteError> {
        match self.0 {}
    }
}
