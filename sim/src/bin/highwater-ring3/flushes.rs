//! Whether the device flushes at least once for every acknowledgement of a lone client: the kernel's own count against the rows.

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use crate::Failure;
use crate::client::{Client, Reply};
use crate::cluster::{Cluster, Shape};

/// Inserts over one connection into a cluster of one; true if the device has flushed at least as often.
pub fn compare(shape: &Shape, rows: u64) -> Result<bool, Failure> {
    let cluster = Cluster::start(&Shape { nodes: 1, ..shape.clone() })?;
    let mut root = Client::new(&cluster.shape.site(), "root", 0);
    let mut run = |sql: &str| match root.sql(sql, &json!([]), None) {
        Reply::Done(_) => Ok(()),
        other => Err(Failure::from(format!("{sql}: {other:?}"))),
    };
    run("CREATE NAMESPACE k")?;
    run("CREATE USER TABLE k.rows (id BIGINT PRIMARY KEY, body TEXT NOT NULL)")?;
    let before = device_flushes(&shape.folder)?;
    let started = Instant::now();
    for id in 0..rows {
        run(&format!("INSERT INTO k.rows VALUES ({id}, 'one row, one flush')"))?;
    }
    let took = started.elapsed();
    let flushes = device_flushes(&shape.folder)?.saturating_sub(before);
    cluster.remove(None)?;
    highwater_sim::say!(
        "{rows} acknowledged inserts over one connection in {:.2} s ({:.0} per second), {flushes} flushes of the device",
        took.as_secs_f64(),
        rows as f64 / took.as_secs_f64()
    );
    Ok(flushes >= rows)
}

/// Flush requests that the block device under a folder has completed: field 16 of its `stat` (Documentation/block/stat).
fn device_flushes(folder: &Path) -> Result<u64, Failure> {
    let device = std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(folder)?);
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
    let mut entry = std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}"))?;
    if entry.join("partition").exists() {
        entry.pop();
    }
    let stat = std::fs::read_to_string(entry.join("stat"))?;
    let field = stat.split_ascii_whitespace().nth(15).ok_or("this kernel does not count flushes")?;
    Ok(field.parse()?)
}
