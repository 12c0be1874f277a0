//! Any bytes as a manifest: refused, or the same again after it was written; no path of it leads outside.
//!
//! `scripts/fuzz.sh 60 manifest`

#![no_main]

use std::path::Component;

use depsfs::store::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(manifest) = Manifest::parse(data) else { return };
    let bytes = serde_json::to_vec(&manifest).expect("a manifest is JSON");
    assert_eq!(Manifest::parse(&bytes).as_ref(), Ok(&manifest));
    for view in &manifest.views {
        let paths = std::iter::once(&view.path).chain(view.grafts.iter().map(|g| &g.at));
        assert!(paths.into_iter().flat_map(|p| p.components()).all(|c| matches!(c, Component::Normal(_))));
    }
});
