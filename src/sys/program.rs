//! The memory that the running program's own instructions take.

use std::path::Path;

use rustix::mm::{Advice, madvise};

use super::path as paths;

/// Gives back the pages of the program's instructions that were touched so far: a process that has begun its one lasting
/// task needs few of what its start took. They are read again from the page cache when they are needed.
pub fn give_back_instructions() {
    let Ok(Some(maps)) = paths::read_if_there(Path::new("/proc/self/maps")) else { return };
    let here = give_back_instructions as *const () as usize;
    let Some((start, end)) = instructions_around(here, &String::from_utf8_lossy(&maps)) else { return };
    // SAFETY: the range is a mapping of a file that may be read and executed but not written, so its pages are the
    // file's, to the byte, and the kernel reads them again at the next touch.
    let _ = unsafe { madvise(start as *mut _, end - start, Advice::LinuxDontNeed) };
}

/// The bounds of the mapping that `address` lies in, when it is private, readable and executable, never writable
/// (proc_pid_maps(5)).
fn instructions_around(address: usize, maps: &str) -> Option<(usize, usize)> {
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        ((start..end).contains(&address) && rest.starts_with("r-xp")).then_some((start, end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mapping_of_instructions_is_given_back() {
        let maps = "1000-3000 r--p 00000000 fe:00 7 /a\n3000-9000 r-xp 00002000 fe:00 7 /a\n9000-a000 rwxp 0 00:00 0\n";
        assert_eq!(instructions_around(0x3000, maps), Some((0x3000, 0x9000)));
        assert_eq!(instructions_around(0x1000, maps), None);
        assert_eq!(instructions_around(0x9000, maps), None);
        assert_eq!(instructions_around(0xb000, maps), None);
    }

    #[test]
    fn a_program_goes_on_without_its_pages() {
        give_back_instructions();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        assert!(instructions_around(give_back_instructions as *const () as usize, &maps).is_some());
    }
}
