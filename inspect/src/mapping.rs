//! A file as bytes, through a memory map. The only unsafe code of the tool.
//!
//! The kernel reads what is looked at and nothing else: a folder of many gigabytes is inspected in little memory.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::{Advice, Mmap};

/// A file's bytes.
#[derive(Debug)]
pub(crate) struct Mapped(Option<Mmap>);

impl Mapped {
    /// Maps a file; an empty one has no bytes.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Self(None));
        }
        #[expect(unsafe_code, reason = "a map of a file is unsafe by nature; see below")]
        // SAFETY: the bytes are only read, as `u8`, for which every value is valid. What remains is that another process
        // changes or shortens the file meanwhile: `lock` keeps servers away from the folder for as long as this process lives
        // (or was told by the user not to), and nothing else writes into a data folder. A file shortened all the same ends this
        // process with SIGBUS; it cannot corrupt anything, since nothing is ever written.
        let map = unsafe { Mmap::map(&file)? };
        // A hint; files are read from front to back.
        let _ = map.advise(Advice::Sequential);
        Ok(Self(Some(map)))
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}
