//! One thread that another one gets out of a blocking read(2), or that no thread waits for any longer.

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, sigaction};

/// It means nothing to a process that does not ask for it (signal(7)), and no program sends it.
const SIGNAL: Signal = Signal::SIGURG;

/// A thread of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadId(pub i32);

/// The thread that calls.
pub fn this() -> ThreadId {
    // SAFETY: gettid(2) has no arguments and always succeeds.
    ThreadId(unsafe { libc::gettid() })
}

/// From now on [`restart_call`] works for this thread and for those that it starts.
pub fn allow_restarts() -> io::Result<()> {
    extern "C" fn nothing(_: i32) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(SIGNAL, &action) }?;
    let mut set = SigSet::empty();
    set.add(SIGNAL);
    Ok(pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&set), None)?)
}

/// Has the thread begin the system call again that it waits in: its descriptor is looked up anew, and may be another one
/// by then. Does nothing to a thread that is in none, or gone.
pub fn restart_call(thread: ThreadId) {
    // SAFETY: tgkill(2) reads no memory; a number that belongs to no thread of this process is refused.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread.0, SIGNAL as i32) };
}

/// The answer of `look`, if it has one within the limit: in a mount it may wait for ever. Then its thread is left behind.
pub fn within<T: Send + 'static>(limit: Duration, look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, answer) = mpsc::channel();
    let run = move || drop(sender.send(look()));
    std::thread::Builder::new().name("look".into()).spawn(run).ok()?;
    answer.recv_timeout(limit).ok()
}

/// The answers of some looks that are made at once, as [`within`] makes one: of those that have one before none comes for
/// as long as the limit. So a few that wait for ever cost the limit once, and a busy machine loses none of the others.
pub fn all_within<T: Send + 'static, L: FnOnce() -> T + Send + 'static>(
    limit: Duration,
    looks: impl Iterator<Item = L>,
) -> Vec<T> {
    let (sender, answers) = mpsc::channel();
    for look in looks {
        let sender = sender.clone();
        let run = move || drop(sender.send(look()));
        if std::thread::Builder::new().name("look".into()).spawn(run).is_err() {
            break;
        }
    }
    drop(sender);
    std::iter::from_fn(|| answers.recv_timeout(limit).ok()).collect()
}

/// From now on this thread gets a processor and a disk only while they are idle: the lowest priority of nice(2), and
/// the idle class of ioprio_set(2), for which there is no wrapper. If the kernel refuses, the priority stays as it was.
pub fn go_to_background() {
    const WHO_PROCESS: libc::c_int = 1;
    const CLASS_IDLE: libc::c_int = 3 << 13;
    let thread = this().0;
    // SAFETY: numbers only. Both calls are about one thread when they are given its id (setpriority(2), NOTES).
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, thread.cast_unsigned(), 19);
        libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, thread, CLASS_IDLE);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::sync::mpsc::channel;

    use super::*;
    use crate::sys::fuse_dev::DescriptorSlot;
    use crate::sys::socket;

    #[test]
    fn a_thread_that_goes_to_the_background_is_the_last_for_processor_and_disk_and_no_other_is() {
        // SAFETY: numbers only.
        let rank = || unsafe {
            let thread = this().0;
            let nice = libc::getpriority(libc::PRIO_PROCESS, thread.cast_unsigned());
            (nice, libc::syscall(libc::SYS_ioprio_get, 1, thread) >> 13)
        };
        let before = rank();
        let background = std::thread::spawn(move || {
            go_to_background();
            rank()
        });
        assert_eq!(background.join().expect("no panic"), (19, 3));
        assert_eq!(rank(), before);
    }

    #[test]
    fn a_look_that_hangs_takes_no_time_from_the_others() {
        let (never, hangs) = channel::<()>();
        let hangs = std::sync::Mutex::new(hangs);
        let hangs = std::sync::Arc::new(hangs);
        let looks = (0..4).map(|n| {
            let hangs = hangs.clone();
            move || match n {
                0 => hangs.lock().expect("one at a time").recv().map_or(0, |()| 0),
                n => n,
            }
        });
        let mut found = all_within(Duration::from_secs(2), looks);
        found.sort_unstable();
        drop(never);
        assert_eq!(found, [1, 2, 3]);
    }

    #[test]
    fn looks_that_end_one_after_the_other_may_take_longer_than_the_limit_together() {
        let looks = (0..9).map(|n| {
            move || {
                std::thread::sleep(Duration::from_millis(300) * n);
                n
            }
        });
        assert_eq!(all_within(Duration::from_secs(2), looks).len(), 9);
    }

    #[test]
    fn a_thread_that_waits_in_a_read_goes_on_with_what_its_number_refers_to_now() {
        let (first, _silent) = socket::packet_pair().expect("a pair");
        let (second, speaker) = socket::packet_pair().expect("a pair");
        socket::send(speaker.as_fd(), b"second", &[]).expect("sent");
        let first = std::sync::Arc::new(first);
        let (started, is_started) = channel();
        let (read, was_read) = channel();
        let reader = std::thread::spawn({
            let first = first.clone();
            move || {
                allow_restarts().expect("allowed");
                started.send(this()).expect("waited for");
                let mut bytes = [0; 16];
                let n = rustix::io::read(&*first, &mut bytes).expect("read");
                read.send(bytes[..n].to_vec()).expect("waited for");
            }
        });
        let thread = is_started.recv().expect("started");
        std::thread::sleep(Duration::from_millis(50));
        DescriptorSlot::of(first.as_fd()).refer_to(second.as_fd()).expect("replaced");
        assert!(was_read.try_recv().is_err());
        restart_call(thread);
        assert_eq!(was_read.recv_timeout(Duration::from_secs(20)).as_deref(), Ok(&b"second"[..]));
        reader.join().expect("no panic");
    }
}
