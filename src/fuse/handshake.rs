//! The negotiation of kernel and view when a connection begins (FUSE_INIT).

use fuser::{InitFlags, KernelConfig};

use super::Passthrough;
use crate::sys::feature::{KernelFeature, is_without};
use crate::sys::fuse_dev::KernelOffer;
use crate::sys::log::OrWarn;

/// The kernel writes this much in one message (32 times its default): it also limits a read.
const MAX_WRITE: u32 = 1 << 20;

/// The capabilities that are requested if the kernel has them. Not requested: FUSE_WRITEBACK_CACHE (a completed write
/// must survive the server), FUSE_ATOMIC_O_TRUNC (most opens come as no message), FUSE_POSIX_LOCKS and FUSE_FLOCK_LOCKS
/// (the kernel keeps locks itself), FUSE_READDIRPLUS_AUTO (would list big directories without attributes, and each name
/// would then cost a lookup of its own), FUSE_AUTO_INVAL_DATA (each write would drop the file's cached pages).
const WANTED: [InitFlags; 7] = [
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    InitFlags::FUSE_HAS_RESEND,
    InitFlags::FUSE_EXPLICIT_INVAL_DATA,
    InitFlags::FUSE_EXPORT_SUPPORT,
];

/// Capabilities that are to be missing, for a test.
fn hidden() -> InitFlags {
    let flags = [
        (KernelFeature::Resend, InitFlags::FUSE_HAS_RESEND),
        (KernelFeature::Passthrough, InitFlags::FUSE_PASSTHROUGH),
        (KernelFeature::KillPriv, InitFlags::FUSE_HANDLE_KILLPRIV_V2),
    ];
    flags.into_iter().filter(|(feature, _)| is_without(*feature)).map(|(_, flag)| flag).collect()
}

/// Requests the capabilities that a view uses; returns the kernel's offer, from which a later server can begin.
pub fn answer(config: &mut KernelConfig, passthrough: &Passthrough) -> KernelOffer {
    let max_readahead = config.set_max_readahead(u32::MAX).err().unwrap_or(0);
    let offer = KernelOffer {
        major: config.kernel_abi().0,
        minor: config.kernel_abi().1,
        max_readahead,
        capabilities: (config.capabilities() - hidden()).bits(),
    };
    for wanted in WANTED.into_iter().filter(|wanted| !hidden().contains(*wanted)) {
        // A kernel without it serves the same, only slower.
        if config.add_capabilities(wanted).is_err() {
            tracing::debug!("the kernel does not have {wanted:?}");
        }
    }
    // One level: the store's files are on a file system that is on no other, and a kernel's overlay can be on the view.
    if passthrough.least().is_some()
        && (is_without(KernelFeature::Passthrough)
            || config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_err()
            || config.set_max_stack_depth(1).is_err())
    {
        passthrough.turn_off();
    }
    config.set_max_readahead(max_readahead.clamp(1, MAX_WRITE)).or_debug("the kernel reads ahead at most");
    config.set_max_write(MAX_WRITE).or_debug("a write has at most");
    config.set_max_background(64).or_debug("the most requests in the background");
    offer
}
