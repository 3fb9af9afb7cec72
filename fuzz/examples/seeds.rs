//! Makes the seeds of the engine's targets, and of the roll's, anew: a store is written by the engine, and its files are cut into what each decoder
//! reads. `cargo run -p highwater-fuzz --example seeds`, after a change of a format; from the project's folder.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a tool of developers that reads and writes files"
)]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use highwater_engine::log::block::{HEADER, Parsed, parse};
use highwater_engine::log::record::{Record, decode};
use highwater_engine::manifest::frame::scan;
use highwater_engine::offline::{Descriptor, FileKind, PartKind, take_apart};
use highwater_engine::{
    Expiry, GroupId, HardState, Incarnation, KeyRange, LogBatch, LogIndex, Store, StoreOptions, Term, WriteBatch,
};
use highwater_runtime::{BLOCK, CpuSet, Rt, launch};

const SEEDS: &str = "fuzz/corpus-seeds";

async fn fill(env: Rt, folder: PathBuf) {
    let (store, _) = Store::open(env, &folder, StoreOptions::small()).await.unwrap();
    for index in 1..=6_u64 {
        let mut batch = WriteBatch::new();
        for row in 0..24 {
            batch.put(format!("a/{row:02}/{index}"), "value ".repeat(1 + row % 5));
        }
        batch.put_expiring(format!("e/{index}"), "gone soon", Expiry(1_000_000 * index));
        batch.delete(format!("a/03/{}", index - 1));
        batch.delete_range(format!("b/{index}"), "c");
        let (group, at) = (GroupId(index as u32 % 2), LogIndex(index.div_ceil(2)));
        let mut records = LogBatch::new();
        records.push_entries(group, Incarnation(1), at, std::iter::once((Term(2), Bytes::from(batch.encode()))));
        records.push_hard_state(group, HardState { term: Term(2), vote: 1, commit: at });
        store.append(records).await.unwrap();
        store.write(group, at, batch);
    }
    store.flush().await.unwrap();
    for (name, range) in [("all", KeyRange::all()), ("part", KeyRange::new("a/05", "e/3"))] {
        store.export(&range, &store.snapshot(), &folder.with_file_name(name)).await.unwrap();
    }
    store.close().await.unwrap();
}

fn put(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(SEEDS).join(target);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), bytes).unwrap();
}

fn log(bytes: &[u8]) {
    put("log_segment", "opening", &bytes[..3 * BLOCK]);
    put("log_segment", "headerless", &bytes[BLOCK..3 * BLOCK]);
    let mut at = BLOCK;
    for number in 0..3 {
        let Parsed::Header(header) = parse(&bytes[at..]) else { break };
        let payload = &bytes[at + HEADER..at + HEADER + header.length as usize];
        put("log_block", &format!("block-{number}"), payload);
        put("log_record", &format!("records-{number}"), &[&[header.records as u8], payload].concat());
        let records = decode(&Bytes::copy_from_slice(payload), header.records).unwrap();
        for record in records {
            if let Record::Entries { entries, .. } = record {
                put("batch", &format!("batch-{number}"), &entries[0].data);
            }
        }
        at += header.block_bytes();
    }
}

fn manifest(bytes: &[u8], number: u64) {
    put("manifest_frame", "two-frames", &bytes[..2 * BLOCK]);
    let (frames, _) = scan(bytes, number);
    for (at, frame) in frames.iter().enumerate() {
        put("manifest_edit", &format!("edit-{at}"), frame.edit);
    }
}

fn table(bytes: &[u8]) {
    put("table_footer", "table", bytes);
    put("table_footer", "footer", &bytes[bytes.len() - BLOCK..]);
    let parts = take_apart(bytes).unwrap().parts;
    for (at, part) in parts.iter().enumerate() {
        let content = part.content.clone().unwrap();
        match part.kind {
            PartKind::Data if at < 2 => put("table_block", &format!("block-{at}"), &content),
            PartKind::Data => {}
            PartKind::Index => put("table_index", &format!("index-{at}"), &content),
            PartKind::Filter => put("table_filter", &format!("filter-{at}"), &content),
            PartKind::RangeDeletes => put("table_range_deletes", "range-deletes", &content),
        }
    }
}

/// Expressions over the columns of `highwater_fuzz::table`, of every family.
const EXPRESSIONS: &[&str] = &[
    "c2 + 1 = c3 * -2",
    "c4 / c5 > power(c5, 2.0)",
    "CASE WHEN c1 THEN c7 ELSE upper(c7) || 'x' END LIKE '%a_'",
    "c2 IN (1, 2, $1) OR c3 BETWEEN 1 AND 10",
    "coalesce(nullif(c7, ''), 'b') IS DISTINCT FROM left(c7, -1)",
    "substring(c7 FROM 2 FOR 3) = lpad(c7, 5, 'ab')",
    "c9 ->> 'a' = '1' AND c9 -> 'a' -> 0 IS NOT NULL",
    "c10 + INTERVAL '1 day' > date_trunc('month', c10)",
    "extract(day FROM c12) = 28 AND c12 - 3 < DATE '2026-01-01'",
    "CAST('12.5' AS DECIMAL(4, 2)) = round(c6, 1)",
    "c18 = ARRAY[1, NULL, 3] AND 2 = ANY(c18)",
    "c16 = '019b0000-0000-7000-8000-000000000001'::UUID",
    "regexp_replace(c7, '[aeiou]+', '#') ~ '^.{3}'",
    "to_char(c14, 'YYYY-MM-DD HH24:MI:SS') = format('%s-%s', c7, c2)",
    "json_build_object('k', c2, 'v', c7)::TEXT = '{}'",
    "encode(sha256(c8), 'hex') = md5(c7)",
    "greatest(c2, c3, 4) % 3 <> abs(-c4) AND NOT c1",
    "split_part(concat_ws(',', c7, c2), ',', 2) = '7'",
];

/// A file `cluster` of three founders and one that joined, without its checksum: as docs/internals/cluster.md draws it.
fn roll() {
    let mut bytes = b"HWCLUST\0".to_vec();
    bytes.extend_from_slice(&2_u32.to_le_bytes());
    bytes.extend_from_slice(&[3, 0, 4, 0]);
    bytes.extend_from_slice(&[7; 16]);
    for number in [2_u64, 5, 1, 2, 3] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    for node in 1..=4_u64 {
        let address = format!("db-{node}.local:2910");
        bytes.extend_from_slice(&node.to_le_bytes());
        bytes.extend_from_slice(&(1000 + node).to_le_bytes());
        bytes.extend_from_slice(&(address.len() as u16).to_le_bytes());
        bytes.extend_from_slice(address.as_bytes());
    }
    put("roll", "four-members", &bytes);
}

fn main() {
    roll();
    for (number, expression) in EXPRESSIONS.iter().enumerate() {
        put("evaluate", &format!("expression-{number:02}"), expression.as_bytes());
        put(
            "statement",
            &format!("update-{number:02}"),
            format!("UPDATE app.t SET c7 = ({expression})::TEXT").as_bytes(),
        );
    }
    let scratch = tempfile::tempdir_in("target").or_else(|_| tempfile::tempdir()).unwrap();
    let folder = scratch.path().join("store-0");
    let made = folder.clone();
    launch(&CpuSet::parse("1").unwrap(), move |env| fill(env, made.clone())).unwrap().join().unwrap();
    for name in ["all", "part"] {
        let bytes = std::fs::read(scratch.path().join(name).join("EXPORT")).unwrap();
        put("prepared_descriptor", name, &Descriptor::decode(&bytes).unwrap().encode());
    }
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        match FileKind::of(&path) {
            FileKind::Manifest(number) => manifest(&bytes, number),
            FileKind::Segment(_) if bytes[0] != 0 => log(&bytes),
            FileKind::Table(_) => table(&bytes),
            FileKind::Segment(_) | FileKind::Other => {}
        }
    }
}
