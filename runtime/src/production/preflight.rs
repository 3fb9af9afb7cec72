//! Probing this machine for what the glommio backend needs.
//!
//! glommio would find most of this out by itself, but late, on an executor's thread and in its own words (G9).

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use io_uring::{IoUring, Probe, opcode};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::buffer::{AlignedBuf, BLOCK};
use crate::preflight::{MEMLOCK_PER_CORE, OPEN_FILES, Problem};

/// The operations that glommio submits on our behalf.
const OPERATIONS: [(&str, u8); 19] = [
    ("NOP", opcode::Nop::CODE),
    ("FSYNC", opcode::Fsync::CODE),
    ("READ_FIXED", opcode::ReadFixed::CODE),
    ("WRITE_FIXED", opcode::WriteFixed::CODE),
    ("POLL_ADD", opcode::PollAdd::CODE),
    ("POLL_REMOVE", opcode::PollRemove::CODE),
    ("TIMEOUT", opcode::Timeout::CODE),
    ("TIMEOUT_REMOVE", opcode::TimeoutRemove::CODE),
    ("ACCEPT", opcode::Accept::CODE),
    ("CONNECT", opcode::Connect::CODE),
    ("FALLOCATE", opcode::Fallocate::CODE),
    ("OPENAT", opcode::OpenAt::CODE),
    ("CLOSE", opcode::Close::CODE),
    ("STATX", opcode::Statx::CODE),
    ("READ", opcode::Read::CODE),
    ("WRITE", opcode::Write::CODE),
    ("SEND", opcode::Send::CODE),
    ("RECV", opcode::Recv::CODE),
    ("ASYNC_CANCEL", opcode::AsyncCancel::CODE),
];

/// Every problem of this machine.
pub(crate) fn probe(data_folder: &Path, cores: usize) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(uring());
    problems.extend(memlock(getrlimit(Resource::Memlock), cores, rustix::process::geteuid().is_root()));
    problems.extend(open_files());
    problems.extend(folder(data_folder));
    problems
}

fn uring() -> Option<Problem> {
    let ring = match IoUring::new(8) {
        Ok(ring) => ring,
        Err(error) => {
            let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
            return Some(refusal(&error, sysctl.and_then(|text| text.trim().parse().ok())));
        }
    };
    let mut probe = Probe::new();
    if let Err(error) = ring.submitter().register_probe(&mut probe) {
        return Some(Problem::UringFailed(format!("asking for its operations: {error}")));
    }
    let missing: Vec<&'static str> =
        OPERATIONS.iter().filter(|(_, code)| !probe.is_supported(*code)).map(|(name, _)| *name).collect();
    if missing.is_empty() { None } else { Some(Problem::MissingOperations(missing)) }
}

/// What a refused set-up means, given `kernel.io_uring_disabled` if the kernel has it.
fn refusal(error: &io::Error, sysctl: Option<i64>) -> Problem {
    match (error.raw_os_error(), sysctl) {
        (Some(libc::ENOSYS), _) => Problem::NoUring,
        (Some(libc::EPERM), Some(level @ 1..)) => Problem::UringDisabled { level },
        (Some(libc::EPERM), _) => Problem::UringForbidden,
        (Some(libc::ENOMEM), _) => Problem::UringFailed("out of locked memory; raise RLIMIT_MEMLOCK".to_owned()),
        _ => Problem::UringFailed(error.to_string()),
    }
}

/// Without a limit there is no problem. The root user's memory is not counted, but glommio insists on the limit for one core (G9).
fn memlock(limit: Rlimit, cores: usize, root: bool) -> Option<Problem> {
    let counted = if root { 1 } else { cores.max(1) as u64 };
    let needs = MEMLOCK_PER_CORE * counted;
    limit.current.filter(|has| *has < needs).map(|has| Problem::Memlock { has, needs })
}

fn open_files() -> Option<Problem> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // A refusal leaves the old limit, which is then judged.
    let _ = setrlimit(Resource::Nofile, raised);
    let now = getrlimit(Resource::Nofile).current;
    now.filter(|has| *has < OPEN_FILES).map(|has| Problem::OpenFiles { has, needs: OPEN_FILES })
}

/// Removes the probe's file whatever happens.
struct Removed<'a>(&'a Path);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        // A left-over probe file is harmless.
        let _ = std::fs::remove_file(self.0);
    }
}

fn folder(folder: &Path) -> Option<Problem> {
    let path = folder.join(format!(".preflight-{}", std::process::id()));
    let unwritable = |error: io::Error| Problem::Folder { folder: folder.to_path_buf(), reason: error.to_string() };
    let file = match std::fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
        Ok(file) => file,
        // A full disk is said by whoever needs space; a server that has its data must start to serve it.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => return None,
        Err(error) => return Some(unwritable(error)),
    };
    let _removed = Removed(&path);
    // SAFETY: a valid descriptor and plain numbers.
    if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, BLOCK as libc::off_t) } != 0 {
        let reason = io::Error::last_os_error();
        let fits = reason.kind() == io::ErrorKind::StorageFull;
        return (!fits).then(|| Problem::Allocate { folder: folder.to_path_buf(), reason: reason.to_string() });
    }
    // glommio uses the page cache on tmpfs, which is for tests.
    let in_memory = rustix::fs::fstatfs(&file).is_ok_and(|fs| fs.f_type == libc::TMPFS_MAGIC);
    if in_memory {
        return None;
    }
    direct_io(&path).err().map(|error| Problem::DirectIo { folder: folder.to_path_buf(), reason: error.to_string() })
}

/// One aligned write past the page cache.
fn direct_io(path: &Path) -> io::Result<()> {
    let file = std::fs::OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path)?;
    let block = AlignedBuf::zeroed(BLOCK);
    std::os::unix::fs::FileExt::write_all_at(&file, &block, 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use std::io::Error;
    use std::path::Path;

    use rustix::process::Rlimit;

    use super::{folder, memlock, refusal};
    use crate::preflight::{MEMLOCK_PER_CORE, Problem, Unfit, check};

    #[test]
    fn this_machine_passes_or_says_why_not() {
        let dir = tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
        assert_eq!(check(dir.path(), 1), Ok(()));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the probe leaves nothing behind");
    }

    #[test]
    fn a_refused_set_up_names_its_cause() {
        let eperm = Error::from_raw_os_error(libc::EPERM);
        assert_eq!(refusal(&eperm, Some(2)), Problem::UringDisabled { level: 2 });
        assert_eq!(refusal(&eperm, Some(0)), Problem::UringForbidden);
        assert_eq!(refusal(&eperm, None), Problem::UringForbidden);
        assert_eq!(refusal(&Error::from_raw_os_error(libc::ENOSYS), None), Problem::NoUring);
    }

    #[test]
    fn locked_memory_is_needed_for_each_core() {
        let limit = |bytes| Rlimit { current: bytes, maximum: None };
        assert_eq!(memlock(limit(None), 64, false), None);
        assert_eq!(memlock(limit(Some(MEMLOCK_PER_CORE)), 1, false), None);
        let needs = 2 * MEMLOCK_PER_CORE;
        assert_eq!(memlock(limit(Some(needs - 1)), 2, false), Some(Problem::Memlock { has: needs - 1, needs }));
        assert_eq!(memlock(limit(Some(MEMLOCK_PER_CORE)), 64, true), None);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let problem = folder(Path::new("/no/such/folder")).unwrap();
        assert!(problem.to_string().starts_with("the data folder /no/such/folder can't be written"), "{problem}");
    }

    #[test]
    fn every_problem_is_one_line() {
        let unfit =
            Unfit(vec![Problem::NoUring, Problem::MissingOperations(vec!["STATX", "READ"]), Problem::UringForbidden]);
        assert_eq!(unfit.to_string().lines().count(), 3);
        assert!(unfit.to_string().contains("lacks STATX, READ;"));
    }
}
