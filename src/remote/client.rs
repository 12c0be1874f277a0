//! Requests to an object store, without a word of the asynchronous runtime to the callers.
//!
//! Calls may come from several threads at once. A signal that the program has caught ends a request.

use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{
    BackoffConfig, ClientOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ObjectStore,
    ObjectStoreExt, PutMode, RetryConfig,
};
use tokio::runtime::{Builder, Runtime};

use super::bandwidth::BandwidthMeter;
use super::error::Fetched;
use super::layout::{self, ObjectStat};
use super::limits::ClientLimits;
use super::spec::{Address, Credentials};
use super::{RemoteError, RemoteSpec, credentials};
use crate::sys::interrupt;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The bytes that a machine on a slow line sends in a second.
const SLOWEST: u64 = 64 << 10;
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
/// A signal is noticed within this time.
const TICK: Duration = Duration::from_millis(100);
const THREADS: usize = 2;

/// The object store of one remote.
pub struct Client {
    name: String,
    store: Arc<dyn ObjectStore>,
    /// The same, for requests with a body; `None` if it is only read.
    writes: Option<Arc<dyn ObjectStore>>,
    prefix: String,
    /// The source of the credentials, for messages; nothing without any.
    credentials: Option<&'static str>,
    limits: ClientLimits,
    /// `None`: bytes come as fast as they can.
    meter: Option<BandwidthMeter>,
    /// `None` only while the value is dropped.
    runtime: Option<Runtime>,
    requests: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

impl Client {
    /// A client of a remote. Nothing is requested yet.
    ///
    /// # Errors
    /// The remote's directory is absent, its address is unsound, or it has no credentials.
    pub fn open(spec: &RemoteSpec, limits: ClientLimits) -> Result<Client, RemoteError> {
        let wrong = |why: String| RemoteError::Spec { remote: spec.name.clone(), why };
        let unreachable = |e: Error| RemoteError::Unreachable { remote: spec.name.clone(), why: words(&e) };
        let reads_of = |spec| options(spec).with_read_timeout(limits.read);
        let (store, writes, prefix): (Arc<dyn ObjectStore>, Option<Arc<dyn ObjectStore>>, String) =
            match Address::parse(&spec.url).map_err(wrong)? {
                Address::Directory(at) => {
                    let store = Arc::new(LocalFileSystem::new_with_prefix(at).map_err(unreachable)?);
                    (store.clone(), Some(store), String::new())
                }
                Address::S3 { bucket, prefix } => {
                    let builder = s3(spec, &bucket)?.with_retry(retry(limits));
                    let build = |builder: AmazonS3Builder| builder.build().map_err(|e| wrong(words(&e)));
                    let reads = build(builder.clone().with_client_options(reads_of(spec)))?;
                    let writes = build(builder.with_client_options(options(spec)))?;
                    (Arc::new(reads), Some(Arc::new(writes)), prefix)
                }
                Address::Web { url } => {
                    install_tls();
                    let builder = HttpBuilder::new().with_url(url).with_retry(retry(limits));
                    let store = builder.with_client_options(reads_of(spec)).build();
                    (Arc::new(store.map_err(|e| wrong(words(&e)))?), None, String::new())
                }
            };
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
        Ok(Client {
            name: spec.name.clone(),
            store,
            writes,
            prefix: [prefix.as_str(), layout::ROOT].join("/").trim_start_matches('/').to_owned(),
            credentials: credentials::source(spec),
            limits,
            meter: spec.limits.bandwidth.map(|bits| BandwidthMeter::new(bits, Instant::now())),
            runtime: Some(runtime.map_err(|e| wrong(format!("no thread can be had: {}", crate::sys::reason(&e))))?),
            requests: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        })
    }

    /// Requests so far, bytes received, bytes sent.
    pub fn traffic(&self) -> (u64, u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.requests), count(&self.received), count(&self.sent))
    }

    /// The bytes of an object, or a range of them; `None` if it is absent.
    ///
    /// # Errors
    /// It has more than `at_most` bytes, or the remote does not answer.
    pub fn get(&self, key: &str, range: Option<Range<u64>>, at_most: u64) -> Fetched {
        self.run(self.fetch(key, range, at_most, self.meter.as_ref()))?
    }

    /// The bytes of some objects, all requested at once, within [`ClientLimits::probe`].
    ///
    /// # Errors
    /// As of [`Client::get`], for each; or none of them arrived in time.
    pub fn probe(&self, keys: &[String], at_most: u64) -> Result<Vec<Fetched>, RemoteError> {
        let late = || {
            let why = format!("no answer within {} s", self.limits.probe.as_secs());
            RemoteError::Unreachable { remote: self.name.clone(), why }
        };
        let all = async {
            let mut answers = Vec::new();
            let mut requests: Vec<_> = keys.iter().map(|key| Box::pin(self.fetch(key, None, at_most, None))).collect();
            // Each is polled until all are done: together they take as long as the slowest.
            poll_fn(|context| {
                answers.resize_with(requests.len(), || None);
                for (request, answer) in requests.iter_mut().zip(&mut answers) {
                    if answer.is_none()
                        && let std::task::Poll::Ready(done) = request.as_mut().poll(context)
                    {
                        *answer = Some(done);
                    }
                }
                match answers.iter().all(Option::is_some) {
                    true => std::task::Poll::Ready(std::mem::take(&mut answers).into_iter().flatten().collect()),
                    false => std::task::Poll::Pending,
                }
            })
            .await
        };
        self.run(async { tokio::time::timeout(self.limits.probe, all).await })?.map_err(|_| late())
    }

    async fn fetch(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        at_most: u64,
        meter: Option<&BandwidthMeter>,
    ) -> Fetched {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let answer = match self.store.get_opts(&self.key(key)?, options).await {
            Ok(answer) => answer,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(self.failed(&e)),
        };
        let too_long = || {
            let why = "it is longer than such objects are".into();
            RemoteError::Damaged { remote: self.name.clone(), key: key.into(), why }
        };
        if answer.range.end - answer.range.start > at_most {
            return Err(too_long());
        }
        let bytes = body(answer, at_most, meter).await.map_err(|e| self.failed(&e))?.ok_or_else(too_long)?;
        self.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(Some(bytes))
    }

    /// Makes an object; `false` if it is there already.
    ///
    /// # Errors
    /// The remote does not answer, or refuses it.
    pub fn create(&self, key: &str, bytes: Vec<u8>) -> Result<bool, RemoteError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let (len, place) = (bytes.len() as u64, self.key(key)?);
        let limit = create_timeout(len);
        let put = self.writes()?.put_opts(&place, bytes.into(), PutMode::Create.into());
        let late = |_| {
            let why = format!("it did not take {len} bytes within {} s", limit.as_secs());
            RemoteError::Unreachable { remote: self.name.clone(), why }
        };
        match self.run(async { tokio::time::timeout(limit, put).await })?.map_err(late)? {
            Ok(_) => {
                self.sent.fetch_add(len, Ordering::Relaxed);
                Ok(true)
            }
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(false),
            Err(e) => Err(self.failed(&e)),
        }
    }

    /// The size and the time of an object; `None` if it is absent.
    ///
    /// # Errors
    /// The remote does not answer.
    pub fn stat(&self, key: &str) -> Result<Option<ObjectStat>, RemoteError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let place = self.key(key)?;
        match self.run(self.store.head(&place))? {
            Ok(meta) => Ok(Some(ObjectStat { size: meta.size, modified: meta.last_modified.timestamp() })),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.failed(&e)),
        }
    }

    /// The keys of all objects below a folder, each with its size and time.
    ///
    /// # Errors
    /// The remote does not answer.
    pub fn list(&self, folder: &str) -> Result<Vec<(String, ObjectStat)>, RemoteError> {
        self.writes()?;
        let (mut found, mut open) = (Vec::new(), vec![self.key(folder)?]);
        while let Some(at) = open.pop() {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let listed = self.run(self.store.list_with_delimiter(Some(&at)))?.map_err(|e| self.failed(&e))?;
            open.extend(listed.common_prefixes);
            for meta in listed.objects {
                let key = meta.location.as_ref().strip_prefix(&self.prefix).unwrap_or_default().trim_start_matches('/');
                let stat = ObjectStat { size: meta.size, modified: meta.last_modified.timestamp() };
                found.push((key.to_owned(), stat));
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// The remote does not answer, or refuses it.
    pub fn delete(&self, key: &str) -> Result<(), RemoteError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let place = self.key(key)?;
        match self.run(self.writes()?.delete(&place))? {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(self.failed(&e)),
        }
    }

    fn writes(&self) -> Result<&Arc<dyn ObjectStore>, RemoteError> {
        self.writes.as_ref().ok_or_else(|| RemoteError::ReadOnly { remote: self.name.clone() })
    }

    fn key(&self, key: &str) -> Result<Key, RemoteError> {
        let whole = format!("{}/{key}", self.prefix);
        Key::parse(&whole).map_err(|_| RemoteError::Damaged {
            remote: self.name.clone(),
            key: key.into(),
            why: "its name cannot be that of an object".into(),
        })
    }

    /// Runs a request to its end, or until a signal.
    fn run<T>(&self, request: impl Future<Output = T>) -> Result<T, RemoteError> {
        self.runtime.as_ref().expect("it is dropped with the value").block_on(async {
            let mut request = pin!(request);
            loop {
                if let Ok(done) = tokio::time::timeout(TICK, request.as_mut()).await {
                    return Ok(done);
                }
                if interrupt::raised().is_some() {
                    return Err(RemoteError::Interrupted);
                }
            }
        })
    }

    fn failed(&self, e: &Error) -> RemoteError {
        let remote = self.name.clone();
        match e {
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                let of = self.credentials.map_or_else(String::new, |of| format!(" for {of}"));
                RemoteError::Denied { remote, why: words(e) + &of }
            }
            _ => RemoteError::Unreachable { remote, why: words(e) },
        }
    }
}

impl Drop for Client {
    /// A read of a directory on a server that hangs may never end, and is left to itself.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The bytes of an answer; `None` if there are more than `at_most`, whatever its header says.
async fn body(answer: GetResult, at_most: u64, meter: Option<&BandwidthMeter>) -> Result<Option<Vec<u8>>, Error> {
    let pause = async |bytes: usize| {
        if let Some(meter) = meter {
            tokio::time::sleep(meter.came(bytes as u64, Instant::now())).await;
        }
    };
    let GetResultPayload::Stream(mut parts) = answer.payload else {
        let bytes = answer.bytes().await?.to_vec();
        pause(bytes.len()).await;
        return Ok(Some(bytes));
    };
    let mut bytes = Vec::new();
    while let Some(part) = poll_fn(|context| parts.as_mut().poll_next(context)).await {
        let part = part?;
        if bytes.len() as u64 + part.len() as u64 > at_most {
            return Ok(None);
        }
        bytes.extend_from_slice(&part);
        // Bytes that are not taken stay with the sender.
        pause(part.len()).await;
    }
    Ok(Some(bytes))
}

/// The error's innermost cause in one line, without the secrets of an address.
fn words(e: &Error) -> String {
    let mut cause: &dyn std::error::Error = e;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let is_local = cause.is::<std::io::Error>();
    let text = match e {
        Error::PermissionDenied { .. } if !is_local => "status 403".into(),
        Error::Unauthenticated { .. } => "status 401".into(),
        _ => cause.to_string(),
    };
    crate::sys::url::without_userinfo(text.lines().next().unwrap_or_default())
}

/// How long sending an object of `len` bytes may take, with all attempts.
fn create_timeout(len: u64) -> Duration {
    2 * RETRY_TIMEOUT + Duration::from_secs(len / SLOWEST)
}

fn options(spec: &RemoteSpec) -> ClientOptions {
    ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_timeout_disabled().with_allow_http(
        [Some(&spec.url), spec.endpoint.as_ref()].into_iter().flatten().any(|url| url.starts_with("http://")),
    )
}

fn install_tls() {
    // A second remote finds it installed.
    rustls::crypto::ring::default_provider().install_default().unwrap_or(());
}

fn retry(limits: ClientLimits) -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: Duration::from_secs(2), ..BackoffConfig::default() };
    RetryConfig { backoff, max_retries: limits.retries, retry_timeout: RETRY_TIMEOUT }
}

/// A bucket, but for the options of its HTTP client and its retries.
fn s3(spec: &RemoteSpec, bucket: &str) -> Result<AmazonS3Builder, RemoteError> {
    install_tls();
    let mut builder = match spec.credentials {
        None | Some(Credentials::Env) => AmazonS3Builder::from_env(),
        Some(Credentials::Aws | Credentials::None) => AmazonS3Builder::new(),
    };
    builder = builder.with_bucket_name(bucket);
    if let Some(region) = &spec.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &spec.endpoint {
        builder = builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false);
    }
    Ok(match spec.credentials {
        Some(Credentials::None) => builder.with_skip_signature(true),
        Some(Credentials::Aws) => exported(spec, builder)?,
        _ if credentials::is_of_profile(spec) => exported(spec, builder)?,
        _ => builder,
    })
}

/// A bucket with the credentials of the program `aws`.
fn exported(spec: &RemoteSpec, builder: AmazonS3Builder) -> Result<AmazonS3Builder, RemoteError> {
    let found = credentials::exported(spec)?;
    let builder = builder.with_access_key_id(found.id).with_secret_access_key(found.secret);
    Ok(match found.token {
        Some(token) => builder.with_config(AmazonS3ConfigKey::Token, token),
        None => builder,
    })
}
