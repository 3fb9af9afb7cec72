#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use quickcheck::{Arbitrary, Gen, QuickCheck};

use super::{CrashKind, Disk, Fate, Fault, Faults, Handle, OpId, Operation, SurvivingSet, Unsynced};
use crate::{AlignedBuf, BLOCK, OpenOptions};

const BLOCK_U64: u64 = BLOCK as u64;

fn filled(fill: u8) -> AlignedBuf {
    AlignedBuf::from_slice(&[fill; BLOCK])
}

fn do_now(disk: &mut Disk, handle: Handle, operation: Operation) -> std::io::Result<Option<AlignedBuf>> {
    let id = disk.submit(handle, operation)?;
    disk.complete(id)
}

fn write(disk: &mut Disk, handle: Handle, block: u64, fill: u8) {
    do_now(disk, handle, Operation::Write { buffer: filled(fill), offset: block * BLOCK_U64 }).unwrap();
}

fn create(disk: &mut Disk, path: &str) -> Handle {
    let life = disk.incarnation();
    disk.open(life, Path::new(path), OpenOptions::CREATE).unwrap()
}

fn sync_names(disk: &mut Disk) {
    let (life, point) = (disk.incarnation(), disk.sync_point());
    disk.sync_dir(life, Path::new("/"), point).unwrap();
}

fn first_bytes(disk: &Disk, path: &str) -> Option<Vec<u8>> {
    disk.contents(Path::new(path)).map(|bytes| bytes.chunks(BLOCK).map(|block| block[0]).collect())
}

#[test]
fn a_sync_covers_what_had_completed_when_it_was_submitted() {
    let mut disk = Disk::new(1, Faults::none());
    let file = create(&mut disk, "/f");
    sync_names(&mut disk);
    write(&mut disk, file, 0, 1);
    let in_flight = disk.submit(file, Operation::Write { buffer: filled(2), offset: BLOCK_U64 }).unwrap();
    let sync = disk.submit(file, Operation::Sync).unwrap();
    disk.complete(in_flight).unwrap();
    disk.complete(sync).unwrap();
    disk.crash(CrashKind::Power);
    assert_eq!(first_bytes(&disk, "/f"), Some(vec![1]), "the write that was in flight is not covered");
}

#[test]
fn a_folder_sync_covers_what_had_completed_when_it_was_submitted() {
    let mut disk = Disk::new(1, Faults::none());
    create(&mut disk, "/a");
    let (life, point) = (disk.incarnation(), disk.sync_point());
    create(&mut disk, "/b");
    disk.sync_dir(life, Path::new("/"), point).unwrap();
    disk.crash(CrashKind::Power);
    assert_eq!(disk.files(), [(PathBuf::from("/a"), 0)]);
}

#[test]
fn a_rename_happens_whole_or_not_at_all() {
    let mut disk = Disk::new(1, Faults::none());
    let old = create(&mut disk, "/manifest");
    write(&mut disk, old, 0, 1);
    do_now(&mut disk, old, Operation::Sync).unwrap();
    let new = create(&mut disk, "/manifest.new");
    write(&mut disk, new, 0, 2);
    do_now(&mut disk, new, Operation::Sync).unwrap();
    sync_names(&mut disk);
    let life = disk.incarnation();
    disk.rename(life, Path::new("/manifest.new"), Path::new("/manifest")).unwrap();
    let outcomes: Vec<_> = disk
        .outcomes(CrashKind::Power, 16)
        .map(|after| (after.files().len(), first_bytes(&after, "/manifest")))
        .collect();
    assert_eq!(outcomes, [(2, Some(vec![1])), (1, Some(vec![2]))]);
}

#[test]
fn a_rename_that_survives_its_files_creation_still_names_the_file() {
    let mut disk = Disk::new(1, Faults::none());
    let file = create(&mut disk, "/new");
    write(&mut disk, file, 0, 3);
    do_now(&mut disk, file, Operation::Sync).unwrap();
    let life = disk.incarnation();
    disk.rename(life, Path::new("/new"), Path::new("/final")).unwrap();
    disk.crash_with(CrashKind::Power, &mut SurvivingSet(0b10));
    assert_eq!(disk.files(), [(PathBuf::from("/final"), BLOCK_U64)]);
}

#[test]
fn a_removed_name_can_come_back_with_its_contents() {
    let mut disk = Disk::new(1, Faults::none());
    let file = create(&mut disk, "/f");
    write(&mut disk, file, 0, 1);
    do_now(&mut disk, file, Operation::Sync).unwrap();
    sync_names(&mut disk);
    let life = disk.incarnation();
    disk.close(file);
    disk.remove_file(life, Path::new("/f")).unwrap();
    assert_eq!(disk.used(), 0);
    disk.crash(CrashKind::Power);
    assert_eq!(first_bytes(&disk, "/f"), Some(vec![1]), "the removal was not synced");
}

#[test]
fn writes_in_flight_may_be_partly_applied_even_when_only_the_process_dies() {
    let mut disk = Disk::new(1, Faults::none());
    let file = create(&mut disk, "/f");
    let buffer = AlignedBuf::from_slice(&[7; 3 * BLOCK]);
    disk.submit(file, Operation::Write { buffer, offset: 0 }).unwrap();
    let at_risk = disk.at_risk(CrashKind::Process);
    assert!(at_risk.len() == 3 && at_risk.iter().all(|item| item.in_flight));
    let seen: BTreeSet<_> =
        disk.outcomes(CrashKind::Process, 8).map(|after| first_bytes(&after, "/f").unwrap()).collect();
    let expected =
        [vec![], vec![7], vec![0, 7], vec![7, 7], vec![0, 0, 7], vec![7, 0, 7], vec![0, 7, 7], vec![7, 7, 7]];
    assert_eq!(seen, expected.into());
}

#[test]
fn dead_handles_and_operations_change_nothing() {
    let mut disk = Disk::new(1, Faults::none());
    let file = create(&mut disk, "/f");
    sync_names(&mut disk);
    let old_life = disk.incarnation();
    let late = disk.submit(file, Operation::Write { buffer: filled(1), offset: 0 }).unwrap();
    disk.crash(CrashKind::Power);
    disk.complete(late).unwrap_err();
    disk.submit(file, Operation::Sync).unwrap_err();
    disk.open(old_life, Path::new("/g"), OpenOptions::CREATE).unwrap_err();
    disk.remove_file(old_life, Path::new("/f")).unwrap_err();
    disk.rename(old_life, Path::new("/f"), Path::new("/g")).unwrap_err();
    disk.sync_dir(old_life, Path::new("/"), u64::MAX).unwrap_err();
    disk.close(file);
    assert_eq!(disk.files(), [(PathBuf::from("/f"), 0)]);
}

#[test]
fn each_operation_fault_fires_and_surfaces() {
    let mut disk = Disk::new(1, Faults::none());
    let file = create(&mut disk, "/f");
    write(&mut disk, file, 0, 1);
    let read = || Operation::Read { offset: 0, len: BLOCK };

    disk.faults = Faults { read_error: 1.0, ..Faults::none() };
    do_now(&mut disk, file, read()).unwrap_err();
    disk.faults = Faults { short_read: 1.0, ..Faults::none() };
    assert_eq!(do_now(&mut disk, file, read()).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    disk.faults = Faults { write_error: 1.0, ..Faults::none() };
    do_now(&mut disk, file, Operation::Write { buffer: filled(2), offset: 0 }).unwrap_err();
    disk.faults = Faults { no_space: 1.0, ..Faults::none() };
    let error = do_now(&mut disk, file, Operation::Allocate { len: 9 * BLOCK_U64 }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    disk.faults = Faults { sync_error: 1.0, ..Faults::none() };
    do_now(&mut disk, file, Operation::Sync).unwrap_err();
    disk.faults = Faults { stall: 1.0, ..Faults::none() };
    assert!(disk.latency() >= 1_000_000);
    for fault in [Fault::ReadError, Fault::ShortRead, Fault::WriteError, Fault::NoSpace, Fault::SyncError, Fault::Stall]
    {
        assert_eq!(disk.counts().of(fault), 1, "{}", fault.name());
    }
}

#[test]
fn what_is_free_is_what_can_still_be_written() {
    let mut disk = Disk::new(1, Faults::none());
    let life = disk.incarnation();
    assert_eq!(disk.free(life).unwrap(), u64::MAX);
    disk.faults.capacity = Some(4 * BLOCK_U64);
    let file = create(&mut disk, "/f");
    do_now(&mut disk, file, Operation::Allocate { len: 3 * BLOCK_U64 }).unwrap();
    assert_eq!(disk.free(life).unwrap(), BLOCK_U64);
    let error = do_now(&mut disk, file, Operation::Allocate { len: 5 * BLOCK_U64 }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    do_now(&mut disk, file, Operation::Allocate { len: 4 * BLOCK_U64 }).unwrap();
    assert_eq!(disk.free(life).unwrap(), 0);
    disk.faults.capacity = Some(BLOCK_U64);
    assert_eq!(disk.free(life).unwrap(), 0, "more is used than there is");
    disk.crash(CrashKind::Power);
    disk.free(life).unwrap_err();
}

#[test]
fn swarms_of_seeds_fire_every_crash_fault() {
    let mut counts = super::FaultCounts::default();
    for seed in 0..100 {
        let mut disk = Disk::new(seed, Faults::crashes(seed));
        for round in 0..10u8 {
            let path = format!("/{round}");
            let file = create(&mut disk, &path);
            let ops: Vec<OpId> = (0..4u64)
                .map(|i| disk.submit(file, Operation::Write { buffer: filled(round), offset: i * BLOCK_U64 }).unwrap())
                .collect();
            // The second overtakes the first.
            disk.complete(ops[1]).unwrap();
            disk.complete(ops[0]).unwrap();
            disk.crash(CrashKind::Power);
        }
        counts.add(disk.counts());
    }
    for fault in [Fault::LostUnsynced, Fault::KeptSubset, Fault::TornBlock, Fault::LostName, Fault::OutOfOrder] {
        assert!(counts.of(fault) >= 10, "{} fired {} times", fault.name(), counts.of(fault));
    }
}

/// One step of a random history over three blocks of two files.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write { file: usize, block: u64, fill: u8, synchronous: bool },
    Submit { file: usize, block: u64, fill: u8 },
    CompleteSubmitted,
    Sync { file: usize },
    ProcessCrash,
    PowerCrash,
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        let file = usize::from(bool::arbitrary(g));
        let block = u64::from(u8::arbitrary(g) % 3);
        let fill = u8::arbitrary(g) | 1;
        match u8::arbitrary(g) % 12 {
            0..=3 => Self::Write { file, block, fill, synchronous: false },
            4 => Self::Write { file, block, fill, synchronous: true },
            5 | 6 => Self::Submit { file, block, fill },
            7 => Self::CompleteSubmitted,
            8 | 9 => Self::Sync { file },
            10 => Self::ProcessCrash,
            _ => Self::PowerCrash,
        }
    }
}

/// What each block may hold after a power cut: its last durable content, and everything that was written since.
type Allowed = BTreeMap<(usize, u64), BTreeSet<u8>>;

struct History {
    disk: Disk,
    handles: Vec<(Handle, Handle)>,
    visible: BTreeMap<(usize, u64), u8>,
    allowed: Allowed,
    submitted: Vec<(OpId, usize, u64, u8)>,
}

const PATHS: [&str; 2] = ["/a", "/b"];

impl History {
    fn new(seed: u64) -> Self {
        let mut disk = Disk::new(seed, Faults { torn_block: 0.0, ..Faults::crashes(seed) });
        for path in PATHS {
            create(&mut disk, path);
        }
        sync_names(&mut disk);
        let mut history = Self {
            disk,
            handles: Vec::new(),
            visible: BTreeMap::new(),
            allowed: BTreeMap::new(),
            submitted: Vec::new(),
        };
        for place in (0..2).flat_map(|file| (0..3).map(move |block| (file, block))) {
            history.visible.insert(place, 0);
            history.allowed.insert(place, BTreeSet::from([0]));
        }
        history.open();
        history
    }

    fn open(&mut self) {
        let life = self.disk.incarnation();
        let open = |disk: &mut Disk, path: &str, options| disk.open(life, Path::new(path), options).unwrap();
        self.handles = PATHS
            .iter()
            .map(|path| {
                (
                    open(&mut self.disk, path, OpenOptions::WRITE),
                    open(&mut self.disk, path, OpenOptions::WRITE.synchronous()),
                )
            })
            .collect();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write { file, block, fill, synchronous } => {
                let (usual, durable) = self.handles[file];
                write(&mut self.disk, if synchronous { durable } else { usual }, block, fill);
                self.visible.insert((file, block), fill);
                let allowed = self.allowed.get_mut(&(file, block)).unwrap();
                if synchronous {
                    allowed.clear();
                }
                allowed.insert(fill);
            }
            Step::Submit { file, block, fill } => {
                let operation = Operation::Write { buffer: filled(fill), offset: block * BLOCK_U64 };
                let id = self.disk.submit(self.handles[file].0, operation).unwrap();
                self.submitted.push((id, file, block, fill));
            }
            Step::CompleteSubmitted => {
                if let Some((id, file, block, fill)) = self.submitted.pop() {
                    self.disk.complete(id).unwrap();
                    self.visible.insert((file, block), fill);
                    self.allowed.get_mut(&(file, block)).unwrap().insert(fill);
                }
            }
            Step::Sync { file } => {
                do_now(&mut self.disk, self.handles[file].0, Operation::Sync).unwrap();
                for block in 0..3 {
                    self.allowed.insert((file, block), BTreeSet::from([self.visible[&(file, block)]]));
                }
            }
            Step::ProcessCrash => self.crash(CrashKind::Process),
            Step::PowerCrash => self.crash(CrashKind::Power),
        }
    }

    fn crash(&mut self, kind: CrashKind) {
        let mut may_be = match kind {
            CrashKind::Power => self.allowed.clone(),
            CrashKind::Process => self.visible.iter().map(|(place, fill)| (*place, BTreeSet::from([*fill]))).collect(),
        };
        for (_, file, block, fill) in std::mem::take(&mut self.submitted) {
            may_be.get_mut(&(file, block)).unwrap().insert(fill);
            self.allowed.get_mut(&(file, block)).unwrap().insert(fill);
        }
        self.disk.crash(kind);
        for (file, path) in PATHS.iter().enumerate() {
            let bytes = first_bytes(&self.disk, path).expect("its name was synced");
            for block in 0..3u64 {
                let fill = bytes.get(usize::try_from(block).unwrap()).copied().unwrap_or(0);
                let may_be = &may_be[&(file, block)];
                assert!(
                    may_be.contains(&fill),
                    "{path} block {block} holds {fill} after a {kind:?} crash, allowed {may_be:?}"
                );
                self.visible.insert((file, block), fill);
                if kind == CrashKind::Power {
                    self.allowed.insert((file, block), BTreeSet::from([fill]));
                }
            }
        }
        self.open();
    }
}

#[test]
fn a_crash_leaves_each_block_as_last_synced_or_as_written_since() {
    fn holds(seed: u64, steps: Vec<Step>) -> bool {
        let mut history = History::new(seed);
        for step in steps {
            history.step(step);
        }
        history.crash(CrashKind::Power);
        true
    }
    QuickCheck::new().tests(2000).quickcheck(holds as fn(u64, Vec<Step>) -> bool);
}

#[test]
fn too_many_outcomes_are_sampled_with_the_extremes_among_them() {
    let mut disk = Disk::new(1, Faults::none());
    let file = create(&mut disk, "/f");
    sync_names(&mut disk);
    for block in 0..70 {
        write(&mut disk, file, block, 1);
    }
    let kept: Vec<usize> = disk
        .outcomes(CrashKind::Power, 10)
        .map(|after| first_bytes(&after, "/f").unwrap().iter().filter(|fill| **fill == 1).count())
        .collect();
    assert_eq!((kept.len(), kept[0], kept[1]), (10, 0, 70));
    assert!(kept[2..].iter().all(|count| (1..70).contains(count)));
}

#[test]
fn tearing_keeps_the_sectors_that_were_not_chosen() {
    let mut disk = Disk::new(1, Faults::none());
    disk.put(Path::new("/f"), &[1; BLOCK]);
    let life = disk.incarnation();
    let file = disk.open(life, Path::new("/f"), OpenOptions::WRITE).unwrap();
    write(&mut disk, file, 0, 2);
    disk.crash_with(CrashKind::Power, &mut |_: &Unsynced| Fate::Torn(0b0000_0101));
    let sectors: Vec<u8> = disk.contents(Path::new("/f")).unwrap().chunks(512).map(|sector| sector[0]).collect();
    assert_eq!(sectors, [2, 1, 2, 1, 1, 1, 1, 1]);
}

#[test]
fn a_linked_file_lives_while_any_name_survives_and_a_link_is_at_risk_until_its_folder_is_synced() {
    let mut disk = Disk::new(1, Faults::none());
    disk.put(Path::new("/d/a"), &[7; BLOCK]);
    let life = disk.incarnation();
    disk.create_dir_all(life, Path::new("/e")).unwrap();
    disk.hard_link(life, Path::new("/d/a"), Path::new("/e/b")).unwrap();
    assert_eq!(disk.used(), BLOCK_U64, "a second name takes no space");
    disk.remove_file(life, Path::new("/d/a")).unwrap();
    let mut seen = BTreeSet::new();
    for after in disk.outcomes(CrashKind::Power, 16) {
        let bytes = ["/d/a", "/e/b"].map(|path| first_bytes(&after, path));
        assert!(bytes.iter().flatten().all(|fill| *fill == [7]), "a name that survives has the bytes");
        seen.insert(bytes.map(|bytes| bytes.is_some()));
    }
    assert_eq!(seen.len(), 4, "unsynced, both the link and the removal may or may not survive");
    let point = disk.sync_point();
    disk.sync_dir(life, Path::new("/e"), point).unwrap();
    for after in disk.outcomes(CrashKind::Power, 16) {
        assert_eq!(first_bytes(&after, "/e/b"), Some(vec![7]));
    }
}

fn read(disk: &mut Disk, handle: Handle, block: u64) -> Vec<u8> {
    do_now(disk, handle, Operation::Read { offset: block * BLOCK_U64, len: BLOCK }).unwrap().unwrap().to_vec()
}

#[test]
fn a_lost_write_leaves_a_wound_that_heals_or_ends_with_the_next_write() {
    let mut disk = Disk::new(1, Faults::none());
    let file = create(&mut disk, "/f");
    write(&mut disk, file, 0, 1);
    disk.faults.lost_write = 1.0;
    write(&mut disk, file, 0, 2);
    assert_eq!(disk.counts().of(Fault::LostWrite), 1);
    assert_eq!(first_bytes(&disk, "/f"), Some(vec![1]));
    let damage = disk.damage();
    assert_eq!((damage[0].path.as_path(), damage[0].block, damage[0].kind), (Path::new("/f"), 0, Fault::LostWrite));
    let mut healed = disk.clone();
    healed.heal(|_| true);
    assert_eq!((first_bytes(&healed, "/f"), healed.damage().len()), (Some(vec![2]), 0));
    disk.faults.lost_write = 0.0;
    write(&mut disk, file, 0, 3);
    assert_eq!((first_bytes(&disk, "/f"), disk.damage().len()), (Some(vec![3]), 0));
}

#[test]
fn a_misdirected_write_wounds_its_own_place_and_another_one() {
    let mut disk = Disk::new(3, Faults::none());
    let file = create(&mut disk, "/f");
    (0..8).for_each(|block| write(&mut disk, file, block, 1 + block as u8));
    disk.faults.misdirected_write = 1.0;
    write(&mut disk, file, 0, 99);
    let bytes = first_bytes(&disk, "/f").unwrap();
    assert!(bytes[0] == 1 && bytes.iter().filter(|byte| **byte == 99).count() == 1, "{bytes:?}");
    assert_eq!(disk.damage().len(), 2);
    disk.heal(|_| true);
    assert_eq!(first_bytes(&disk, "/f"), Some(vec![99, 2, 3, 4, 5, 6, 7, 8]));
}

#[test]
fn rot_lasts_on_the_disk_or_spoils_one_read_and_spares_the_newest_synchronous_write() {
    let mut disk = Disk::new(3, Faults::none());
    let life = disk.incarnation();
    let file = disk.open(life, Path::new("/f"), OpenOptions::CREATE.synchronous()).unwrap();
    (0..2).for_each(|block| write(&mut disk, file, block, 1));
    assert_eq!(disk.newest_write(Path::new("/f")).map(|(first, blocks, _)| (first, blocks)), Some((1, 1)));
    disk.faults.bit_rot = 1.0;
    assert_ne!(read(&mut disk, file, 0), [1; BLOCK]);
    assert_eq!(read(&mut disk, file, 1), [1; BLOCK]);
    assert_eq!(disk.damage().len(), 1);
    disk.forget_passing();
    disk.faults.bit_rot = 0.0;
    assert_eq!(read(&mut disk, file, 0), [1; BLOCK], "the disk itself is intact");
    disk.rot(Path::new("/f"), 0, 9);
    assert_eq!(read(&mut disk, file, 0)[1], 3);
    assert_eq!(disk.damage().len(), 1);
}

#[test]
fn a_clone_shares_content_until_either_changes_and_fingerprints_tell_content_apart() {
    let mut disk = Disk::new(1, Faults::none());
    let file = create(&mut disk, "/f");
    write(&mut disk, file, 0, 1);
    let clone = disk.clone();
    assert_eq!(disk.fingerprint(), clone.fingerprint());
    write(&mut disk, file, 0, 2);
    assert_ne!(disk.fingerprint(), clone.fingerprint());
    assert_eq!(first_bytes(&clone, "/f"), Some(vec![1]));
    write(&mut disk, file, 0, 1);
    assert_eq!(disk.fingerprint(), clone.fingerprint());
}

#[test]
fn a_planned_fault_strikes_once_at_its_occasion() {
    let mut disk = Disk::new(1, Faults::none());
    let file = create(&mut disk, "/f");
    disk.plan(Fault::WriteError, 2);
    let outcomes =
        [1, 2, 3].map(|fill| do_now(&mut disk, file, Operation::Write { buffer: filled(fill), offset: 0 }).is_ok());
    assert_eq!(outcomes, [true, false, true]);
    assert_eq!(disk.occasions(Fault::WriteError), 3);
}

#[test]
fn what_a_dead_incarnation_tries_is_refused_and_counted() {
    let mut disk = Disk::new(1, Faults::none());
    let file = create(&mut disk, "/f");
    disk.crash(CrashKind::Process);
    assert!(do_now(&mut disk, file, Operation::Sync).is_err());
    assert_eq!(disk.counts().of(Fault::StaleHandle), 1);
}
