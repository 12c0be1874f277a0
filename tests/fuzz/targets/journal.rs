//! Any bytes as a journal: whole frames are read, also behind what is none, and each says the same when written again.
//!
//! `scripts/fuzz.sh 60 journal`

#![no_main]

use depsfs::overlay::journal::{Frame, Frames};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let frames = Frames::of(data.to_vec());
    assert_eq!(frames.used() + frames.torn(), data.len());
    if frames.damage().is_none() {
        // Behind damage, where the next frame begins is judged by what follows it, the torn end too.
        assert_eq!(Frames::of(data[..frames.used()].to_vec()).all(), frames.all());
    }
    // Behind its checksum, a frame is reached by mutations only directly.
    if let Ok(frame) = Frame::decode(data) {
        assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }
});
