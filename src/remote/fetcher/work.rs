//! The order in which a fetcher works: who waits for which object, and which pieces are requested next.
//!
//! | first                                              | in requests of              |
//! |----------------------------------------------------|-----------------------------|
//! | 1. pieces that somebody waits for                  | [`SMALL_RUN`]               |
//! | 2. the others: small packs, large packs, large files | [`RUN`]; while somebody waits, [`SMALL_RUN`] |
//!
//! A piece is requested once, however many wait for it. Nothing here waits, reads or writes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::catalog::{Catalog, Piece, RemoteNumber};
use super::health::RemotesHealth;
use super::limits::FetcherLimits;
use crate::remote::RemoteError;
use crate::remote::pack::joins;
use crate::store::ObjectId;

/// The most that one request brings.
const RUN: u64 = 4 << 20;
/// The most while somebody waits for other bytes.
const SMALL_RUN: u64 = 1 << 20;
/// Another demand is expected within this time after one.
const LATELY: Duration = Duration::from_secs(2);
/// Requests at once that nobody waits for.
const PREFETCHES: usize = 8;
/// The same, with a limit of bandwidth.
const NARROW_PREFETCHES: usize = 2;

/// A client that waits for an answer.
pub trait Asker: Send + Sync {
    /// Takes one line of an answer.
    fn tell(&self, line: &str);
}

/// A request of a client: its number there.
#[derive(Clone)]
pub struct Request {
    pub of: Arc<dyn Asker>,
    pub number: u64,
}

/// A request, and its answer: why the object does not come, or that it is here.
pub type AskerAnswer = (Request, Result<(), String>);

/// A request for one object.
struct Waiting {
    request: Request,
    until: Instant,
}

/// Whether something that is absent may come later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finality {
    Final,
    ForNow,
}

/// Pieces that one lane requests together.
pub struct LaneJob {
    pub pieces: Vec<Piece>,
    pub remote: RemoteNumber,
}

/// How a job ended: for each piece, whether its objects are here.
pub type JobOutcome = Result<Vec<(Piece, Result<(), String>)>, RemoteError>;

/// The work of a fetcher.
pub struct Work {
    pub catalog: Catalog,
    pub health: RemotesHealth,
    limits: FetcherLimits,
    /// Nothing is requested that nobody waits for.
    pub is_paused: bool,
    demand: VecDeque<Piece>,
    prefetch: VecDeque<Piece>,
    running: HashMap<Piece, bool>,
    waiting: HashMap<ObjectId, Vec<Waiting>>,
    last_demand: Option<Instant>,
}

impl Work {
    /// No work.
    pub fn new(limits: FetcherLimits) -> Work {
        Work {
            catalog: Catalog::default(),
            health: RemotesHealth::default(),
            limits,
            is_paused: false,
            demand: VecDeque::new(),
            prefetch: VecDeque::new(),
            running: HashMap::new(),
            waiting: HashMap::new(),
            last_demand: None,
        }
    }

    /// Somebody waits for an object. Returns how long at most.
    ///
    /// # Errors
    /// Why it cannot come.
    pub fn demand(&mut self, id: ObjectId, request: Request, now: Instant) -> Result<Duration, String> {
        let piece = self.piece_for(&id, now)?;
        let remotes = self.catalog.remotes_of(&piece);
        let wait = self.health.patience(&remotes, self.wait_of(&remotes), now);
        self.last_demand = Some(now);
        self.waiting.entry(id).or_default().push(Waiting { request, until: now + wait });
        self.queue(piece);
        Ok(wait)
    }

    /// How long is waited for one of these remotes.
    fn wait_of(&self, remotes: &[RemoteNumber]) -> Duration {
        self.limits.wait_of(remotes.iter().map(|remote| self.catalog.remotes[*remote].name.as_str()))
    }

    /// How long is waited for an object while its remotes do not answer.
    pub fn wait_for(&self, id: &ObjectId) -> Duration {
        let pieces = self.catalog.pieces_of(id);
        let remotes: Vec<RemoteNumber> = pieces.iter().flat_map(|piece| self.catalog.remotes_of(piece)).collect();
        self.wait_of(&remotes)
    }

    fn queue(&mut self, piece: Piece) {
        if !self.running.contains_key(&piece) && !self.demand.contains(&piece) {
            self.demand.push_back(piece);
        }
    }

    /// The piece that brings an object soonest.
    fn piece_for(&self, id: &ObjectId, now: Instant) -> Result<Piece, String> {
        let pieces = self.catalog.pieces_of(id);
        let (mut best, mut why) = (None, None);
        for piece in pieces {
            match self.health.choose(piece, &self.catalog.remotes_of(&piece), now) {
                Ok(remote) => {
                    let rank = (self.health.why(remote).is_some(), !self.running.contains_key(&piece));
                    if best.is_none_or(|(other, _)| rank < other) {
                        best = Some((rank, piece));
                    }
                }
                Err(damage) => why = why.or(damage),
            }
        }
        best.map(|(_, piece)| piece).ok_or_else(|| why.unwrap_or_else(|| "no remote is known that has it".into()))
    }

    /// Why an object does not come: no remote has it whole, which is final, or its remote does not answer.
    pub fn why_not(&self, id: &ObjectId, now: Instant) -> Option<(String, Finality)> {
        match self.piece_for(id, now) {
            Err(why) => Some((why, Finality::Final)),
            Ok(piece) => {
                let silent = |remote: &RemoteNumber| self.health.why(*remote);
                let why = self.catalog.remotes_of(&piece).iter().find_map(silent).map(str::to_owned);
                why.map(|why| (why, Finality::ForNow))
            }
        }
    }

    /// Replaces the pieces that are brought when nobody waits.
    pub fn prefetch(&mut self, wanted: HashSet<ObjectId>, now: Instant) {
        let plan = self.catalog.plan(wanted);
        let usable = |piece: &Piece| self.health.choose(*piece, &self.catalog.remotes_of(piece), now).is_ok();
        self.prefetch = plan.into_iter().filter(|p| !self.running.contains_key(p) && usable(p)).collect();
    }

    /// Whether nothing is left that is brought when nobody waits, and nothing of it runs.
    pub fn is_done(&self) -> bool {
        self.prefetch.is_empty() && self.running.is_empty()
    }

    /// Whether somebody waits.
    pub fn is_awaited(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether there is a piece that a lane may take now or later.
    pub fn has_work(&self) -> bool {
        !(self.demand.is_empty() && self.prefetch.is_empty())
    }

    /// The next job, if there is one now.
    pub fn next(&mut self, now: Instant) -> Option<LaneJob> {
        if let Some(job) = self.take(true, SMALL_RUN, now) {
            return Some(job);
        }
        // On a narrow line, what is brought ahead would take the bytes of those who wait.
        let is_narrow = self.limits.has_bandwidth();
        let most = if is_narrow { NARROW_PREFETCHES } else { PREFETCHES };
        if self.is_paused || self.prefetching() >= most || is_narrow && self.is_awaited() {
            return None;
        }
        let is_late = self.last_demand.is_none_or(|at| now.saturating_duration_since(at) > LATELY);
        self.take(false, if is_late && !is_narrow && !self.is_awaited() { RUN } else { SMALL_RUN }, now)
    }

    fn prefetching(&self) -> usize {
        self.running.values().filter(|is_demand| !**is_demand).count()
    }

    fn take(&mut self, is_demand: bool, most: u64, now: Instant) -> Option<LaneJob> {
        let queue = if is_demand { &self.demand } else { &self.prefetch };
        let ready = |piece: &Piece| {
            let remote = self.health.choose(*piece, &self.catalog.remotes_of(piece), now).ok()?;
            self.health.not_before(remote).is_none_or(|at| at <= now).then_some(remote)
        };
        let is_free = |piece: &Piece| !self.running.contains_key(piece);
        let (at, remote) = queue.iter().enumerate().find_map(|(at, p)| Some((at, ready(p).filter(|_| is_free(p))?)))?;
        let mut pieces = vec![queue[at]];
        if let (Piece::Frame(pack, _), Some(mut run)) = (queue[at], self.catalog.place_of(&queue[at])) {
            let of_pack = |p: &&Piece| matches!(p, Piece::Frame(of, _) if *of == pack) && is_free(p);
            let mut others: Vec<Piece> = queue.iter().skip(at + 1).filter(of_pack).copied().collect();
            others.sort_unstable_by_key(|p| self.catalog.place_of(p).map(|place| place.start));
            for other in others {
                let Some(place) = self.catalog.place_of(&other) else { continue };
                if joins(&run, &place, most) {
                    run.end = place.end;
                    pieces.push(other);
                }
            }
        }
        let taken: HashSet<Piece> = pieces.iter().copied().collect();
        self.demand.retain(|p| !taken.contains(p));
        self.prefetch.retain(|p| !taken.contains(p));
        pieces.iter().for_each(|p| _ = self.running.insert(*p, is_demand));
        Some(LaneJob { pieces, remote })
    }

    /// A job has ended. Returns the answers to give.
    pub fn ended(&mut self, job: LaneJob, outcome: JobOutcome, now: Instant) -> Vec<AskerAnswer> {
        job.pieces.iter().for_each(|piece| _ = self.running.remove(piece));
        let mut answers = Vec::new();
        match outcome {
            Ok(pieces) => {
                self.health.answered(job.remote);
                for (piece, done) in pieces {
                    match done {
                        Ok(()) => self.here(&piece, &mut answers),
                        Err(why) => self.damaged(piece, job.remote, why, now, &mut answers),
                    }
                }
            }
            Err(e @ (RemoteError::Damaged { .. } | RemoteError::Untrusted { .. })) => {
                self.health.answered(job.remote);
                for piece in job.pieces {
                    self.damaged(piece, job.remote, e.to_string(), now, &mut answers);
                }
            }
            // The fetcher ends: whoever waits asks the next one.
            Err(RemoteError::Interrupted) => {}
            Err(e @ (RemoteError::Store(_) | RemoteError::Io(_))) => {
                // Until the free space was looked at again.
                self.is_paused = true;
                for piece in &job.pieces {
                    self.refuse(piece, &e.to_string(), &mut answers);
                }
                self.later(job);
            }
            Err(e) => {
                // Credentials that have expired are looked up again once.
                let is_renewed = matches!(e, RemoteError::Denied { .. }) && self.health.why(job.remote).is_none();
                let is_final = !is_renewed && !matches!(e, RemoteError::Unreachable { .. });
                self.health.failed(job.remote, e.to_string(), now);
                if is_final {
                    self.health.is_down(job.remote, now);
                    job.pieces.iter().for_each(|piece| self.refuse(piece, &e.to_string(), &mut answers));
                }
                self.later(job);
            }
        }
        answers
    }

    fn here(&mut self, piece: &Piece, answers: &mut Vec<AskerAnswer>) {
        for id in self.catalog.objects_of(piece) {
            answers.extend(self.waiting.remove(&id).into_iter().flatten().map(|w| (w.request, Ok(()))));
        }
    }

    fn refuse(&mut self, piece: &Piece, why: &str, answers: &mut Vec<AskerAnswer>) {
        for id in self.catalog.objects_of(piece) {
            let waiting = self.waiting.remove(&id).into_iter().flatten();
            answers.extend(waiting.map(|w| (w.request, Err(why.to_owned()))));
        }
    }

    /// Looks for the objects of a damaged piece elsewhere.
    fn damaged(
        &mut self,
        piece: Piece,
        remote: RemoteNumber,
        why: String,
        now: Instant,
        answers: &mut Vec<AskerAnswer>,
    ) {
        self.health.damaged(piece, remote, why, now);
        for id in self.catalog.objects_of(&piece) {
            if !self.waiting.contains_key(&id) {
                continue;
            }
            match self.piece_for(&id, now) {
                Ok(other) => self.queue(other),
                Err(why) => {
                    let waiting = self.waiting.remove(&id).into_iter().flatten();
                    answers.extend(waiting.map(|w| (w.request, Err(why.clone()))));
                }
            }
        }
    }

    /// Puts the pieces of a job that failed back.
    fn later(&mut self, job: LaneJob) {
        for piece in job.pieces.into_iter().rev() {
            match self.catalog.objects_of(&piece).iter().any(|id| self.waiting.contains_key(id)) {
                true => self.queue(piece),
                // Of one that nobody waits for any longer, somebody may ask again.
                false => self.prefetch.push_front(piece),
            }
        }
    }

    /// The answers to those who have waited long enough.
    pub fn expired(&mut self, now: Instant) -> Vec<AskerAnswer> {
        let late: Vec<ObjectId> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.iter().any(|w| w.until <= now))
            .map(|(id, _)| *id)
            .collect();
        let mut answers = Vec::new();
        for id in late {
            let why = self.silence(&id, now);
            let Some(waiting) = self.waiting.remove(&id) else { continue };
            let (late, patient): (Vec<Waiting>, Vec<Waiting>) = waiting.into_iter().partition(|w| w.until <= now);
            answers.extend(late.into_iter().map(|w| (w.request, Err(why.clone()))));
            if !patient.is_empty() {
                self.waiting.insert(id, patient);
            }
        }
        if !answers.is_empty() {
            let is_awaited = |p: &Piece| self.catalog.objects_of(p).iter().any(|id| self.waiting.contains_key(id));
            let (demand, others): (Vec<Piece>, Vec<Piece>) = self.demand.drain(..).partition(is_awaited);
            self.demand.extend(demand);
            others.into_iter().rev().for_each(|piece| self.prefetch.push_front(piece));
        }
        answers
    }

    /// Why an object did not come in time. Its remotes count as down.
    fn silence(&mut self, id: &ObjectId, now: Instant) -> String {
        let mut why = None;
        let remotes: HashSet<RemoteNumber> =
            self.catalog.pieces_of(id).iter().flat_map(|piece| self.catalog.remotes_of(piece)).collect();
        for remote in remotes {
            if self.health.why(remote).is_none() {
                let name = self.catalog.remotes[remote].name.clone();
                let late = RemoteError::Unreachable { remote: name, why: "its bytes did not come in time".into() };
                self.health.failed(remote, late.to_string(), now);
            }
            self.health.is_down(remote, now);
            why = why.or_else(|| self.health.why(remote).map(str::to_owned));
        }
        why.unwrap_or_else(|| "no remote is known that has it".into())
    }
}
