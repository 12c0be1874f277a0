//! Any bytes as a journal: whole frames are read up to the first that isn't one, and each says the same when written again.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz journal -- -max_total_time=60`

#![no_main]

use depsfs::overlay::journal::{Frame, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (frames, used) = parse(data);
    assert!(used <= data.len());
    assert_eq!(parse(&data[..used]), (frames, used));
    // Behind its checksum, a frame is reached by mutations only directly.
    if let Ok(frame) = Frame::decode(data) {
        assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }
});
