//! Which CPUs take the interrupts of a folder's disk.
//!
//! A durable write ends with an interrupt. On a disk with one queue (most virtual disks) all of them go to one CPU; an executor on
//! another one sleeps meanwhile and must be woken across, which on a virtual machine takes longer than the write's system call. So
//! an executor that may choose runs where the interrupts are. Disks with a queue per CPU (NVMe) favour none.
//!
//! Owns the reading of `/sys/dev/block` and `/proc/irq`, which are Linux's; whatever is not there or unreadable means no preference.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::launch::CpuSet;

/// The CPUs to which the interrupts go that the disk under `folder` has raised since the machine started; empty when unknown.
pub(crate) fn cpus_of_disk(folder: &Path) -> BTreeSet<usize> {
    let fired = fs::read_to_string("/proc/interrupts").map(|text| fired(&text)).unwrap_or_default();
    disk_interrupts(folder)
        .unwrap_or_default()
        .intersection(&fired)
        .filter_map(|irq| fs::read_to_string(format!("/proc/irq/{irq}/effective_affinity_list")).ok())
        .filter_map(|list| cpus_in(&list))
        .flatten()
        .collect()
}

/// The message interrupts of the device that the folder's file system is on, found above its place in `/sys`.
fn disk_interrupts(folder: &Path) -> Option<BTreeSet<u32>> {
    let device = fs::metadata(folder).ok()?.dev();
    let place = format!("/sys/dev/block/{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let place: PathBuf = fs::canonicalize(place).ok()?;
    let listed = place.ancestors().find_map(|above| fs::read_dir(above.join("msi_irqs")).ok())?;
    Some(listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// The numbered interrupts of `/proc/interrupts` that have occurred on any CPU.
fn fired(text: &str) -> BTreeSet<u32> {
    let mut lines = text.lines();
    let cpus = lines.next().map_or(0, |header| header.split_whitespace().count());
    lines
        .filter_map(|line| {
            let (irq, counts) = line.split_once(':')?;
            let occurred = counts.split_whitespace().take(cpus).any(|count| count.parse::<u64>().is_ok_and(|n| n > 0));
            if occurred { irq.trim().parse().ok() } else { None }
        })
        .collect()
}

/// The CPUs of a list as the kernel prints it: `1`, `0,2-3`.
fn cpus_in(list: &str) -> Option<Vec<usize>> {
    let all = CpuSet::numbered(rustix::thread::CpuSet::MAX_CPU);
    // A lone number is a CPU here, where a user means a count.
    let named = CpuSet::parse_among(&format!("{},", list.trim()), &all).ok()?;
    Some(named.iter().collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const INTERRUPTS: &str = "           CPU0       CPU1
   4:         20          0  IO-APIC   4-edge      ttyS0
  35:          0          1 PCI-MSIX-0000:00:02.0   0-edge      virtio1-config
  36:          0    7590925 PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0
  37:          0          0 PCI-MSIX-0000:00:03.0   0-edge      virtio2-config
 NMI:          3          4   Non-maskable interrupts
";

    #[test]
    fn interrupts_that_never_occurred_do_not_count() {
        assert_eq!(fired(INTERRUPTS), BTreeSet::from([4, 35, 36]));
        assert_eq!(fired(""), BTreeSet::new());
        assert_eq!(fired("no table\nat: all"), BTreeSet::new());
    }

    #[test]
    fn the_kernels_lists_are_understood() {
        assert_eq!(cpus_in("1\n"), Some(vec![1]));
        assert_eq!(cpus_in("0,2-3\n"), Some(vec![0, 2, 3]));
        assert_eq!(cpus_in("\n"), None);
    }

    #[test]
    fn a_folder_without_a_disk_has_no_preference() {
        assert_eq!(cpus_of_disk(Path::new("/proc")), BTreeSet::new());
        assert_eq!(cpus_of_disk(Path::new("/nowhere")), BTreeSet::new());
    }
}
