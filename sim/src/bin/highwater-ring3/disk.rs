//! A small file system for one node's data folder: an ext4 in a sparse file, mounted through a loop device, so that it can be filled to
//! its last block without filling the machine. Needs root, `mkfs.ext4` and `mount`.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, open};

use crate::Failure;

/// Bytes of the file system. The file is sparse: only what is written counts on the machine's own disk.
const SIZE: u64 = 2 << 30;
/// The file that takes all space there is.
const FILLER: &str = "filler";

/// A mounted file system; unmounted and removed when dropped.
pub struct SmallDisk {
    image: PathBuf,
    mounted: PathBuf,
}

impl SmallDisk {
    /// Makes and mounts one beside and at `folder`.
    pub fn mount(folder: &Path) -> Result<Self, Failure> {
        let image = folder.with_extension("img");
        std::fs::create_dir_all(folder)?;
        std::fs::File::create(&image)?.set_len(SIZE)?;
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(folder)).map_err(|error| {
            format!("a full disk needs a file system of its own: {error}; run as root on a machine with loop devices, or leave full-disk out of --faults")
        })?;
        Ok(Self { image, mounted: folder.to_owned() })
    }

    /// Takes all space that is left.
    pub fn fill(&self) -> Result<(), Failure> {
        let file = self.filler(OFlags::CREATE | OFlags::RDWR)?;
        let (mut at, mut piece) = (0, 256_u64 << 20);
        while piece >= 4 << 10 {
            match fallocate(&file, FallocateFlags::empty(), at, piece) {
                Ok(()) => at += piece,
                Err(rustix::io::Errno::NOSPC) => piece /= 2,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(format!("cannot fill {}: {error}", self.mounted.display()).into()),
            }
        }
        Ok(())
    }

    /// Gives the space back.
    pub fn free(&self) -> Result<(), Failure> {
        match std::fs::remove_file(self.mounted.join(FILLER)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn filler(&self, flags: OFlags) -> Result<OwnedFd, Failure> {
        Ok(open(self.mounted.join(FILLER), flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mounted).status();
        let _ = std::fs::remove_file(&self.image);
    }
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
}
