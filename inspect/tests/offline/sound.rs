use std::fs::File;

use rustix::fs::{FlockOperation, flock};

use crate::store::{Data, inspect, inspect_json};

/// Compares with a file of expected output; HIGHWATER_TEST_BLESS=1 writes it anew.
fn golden(name: &str, data: &Data, arguments: &[&str]) {
    let (out, error, code) = inspect(arguments);
    assert_eq!((error.as_str(), code), ("", 0), "{out}");
    let folder = data.path().to_str().unwrap();
    let out: String = out.replace(folder, "DATA").lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/offline/golden").join(name);
    if std::env::var_os("HIGHWATER_TEST_BLESS").is_some() {
        std::fs::write(&file, &out).unwrap();
    }
    let wanted = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(out == wanted, "{name} differs (HIGHWATER_TEST_BLESS=1 writes it anew):\n{out}");
}

#[test]
fn a_table_and_a_segment_are_shown_as_the_engine_wrote_them() {
    let data = Data::sound();
    let (table, segment) = (data.table(), data.segment());
    golden("table.txt", &data, &["table", table.to_str().unwrap()]);
    golden("log-of-a-group.txt", &data, &["log", segment.to_str().unwrap(), "--group", "7", "--hex"]);
}

#[test]
fn the_manifest_is_shown_edit_by_edit_and_summed_up() {
    let data = Data::sound();
    let folder = data.path().to_str().unwrap();
    let (value, code) = inspect_json(&["manifest", folder]);
    assert_eq!(code, 0, "{value}");
    let sections = value["sections"].as_array().unwrap();
    let rows = |at: usize| sections[at]["rows"].as_array().unwrap().clone();
    let edits = rows(0);
    assert!(edits.len() > 2 && edits.iter().all(|edit| edit["counts"] == "yes"), "{value}");
    assert!(edits.last().unwrap()["what_it_changes"].as_str().unwrap().starts_with("adds table 1 at level 0 run 1"));
    assert_eq!(sections[1]["facts"]["database"], "0000000000000abc");
    let tables = rows(2);
    assert_eq!(
        (tables.len(), &tables[0]["versions"], &tables[0]["deletes"]),
        (1, &serde_json::Value::from(100), &serde_json::Value::from(2))
    );
    assert_eq!(rows(3)[0]["flushed"], 6);
    let (value, _) = inspect_json(&["verify", folder]);
    let facts = &value["sections"][0]["facts"];
    assert_eq!(
        [1, 100, 9].map(serde_json::Value::from),
        ["tables", "versions", "log_entries"].map(|name| facts[name].clone())
    );
}

#[test]
fn keys_and_blocks_of_a_table_are_listed_when_asked_for() {
    let data = Data::sound();
    let table = data.table();
    let (value, code) = inspect_json(&["table", table.to_str().unwrap(), "--keys", "--blocks"]);
    assert_eq!(code, 0);
    let section = |title: &str| {
        let sections = value["sections"].as_array().unwrap();
        sections.iter().find(|section| section["title"] == title).unwrap_or_else(|| panic!("{title}: {value}")).clone()
    };
    let versions = section("Versions")["rows"].as_array().unwrap().clone();
    assert_eq!(versions.len(), 100);
    assert_eq!(versions[0]["key"], "a/1/000");
    let deleted: Vec<_> = versions.iter().filter(|version| version["kind"] == "delete").collect();
    assert_eq!((deleted.len(), deleted[0]["key"].as_str()), (1, Some("a/1/003")));
    let deletes = section("Range deletes")["rows"].as_array().unwrap().clone();
    assert_eq!((deletes[0]["first_key"].as_str(), deletes[0]["behind_last_key"].as_str()), (Some("b/"), Some("c/")));
    let blocks = section("Blocks")["rows"].as_array().unwrap().clone();
    assert!(blocks.iter().filter(|block| block["part"] == "data").count() > 1);
    assert!(blocks.iter().all(|block| block["state"] == "whole"));
}

#[test]
fn stats_show_levels_amplification_and_the_log_of_each_group() {
    let data = Data::sound();
    let (value, code) = inspect_json(&["stats", data.path().to_str().unwrap()]);
    assert_eq!(code, 0, "{value}");
    let text = value.to_string();
    for word in ["space_amplification", "read_amplification", "live_bytes", "held_bytes", "oldest_segment", "runs"] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn entries_of_the_log_carry_group_index_and_term() {
    let data = Data::sound();
    let (value, _) = inspect_json(&["log", data.path().to_str().unwrap(), "--entries", "--summary"]);
    let sections = value["sections"].as_array().unwrap();
    let entries = sections.iter().find(|section| section["title"] == "Entries").unwrap()["rows"].as_array().unwrap();
    let found: Vec<(u64, u64, u64)> = entries
        .iter()
        .map(|entry| [&entry["group"], &entry["index"], &entry["term"]].map(|value| value.as_u64().unwrap()).into())
        .collect();
    let wanted: Vec<(u64, u64, u64)> =
        (1..=6).map(|index| (1, index, 3)).chain((1..=3).map(|index| (7, index, 3))).collect();
    assert_eq!(found, wanted);
}

#[test]
fn nothing_is_written() {
    let data = Data::sound();
    let before = data.content();
    let folder = data.path().to_str().unwrap().to_owned();
    for command in ["log", "manifest", "verify", "stats"] {
        assert_eq!(inspect(&[command, &folder]).2, 0);
    }
    assert_eq!(data.content(), before);
}

#[test]
fn a_folder_in_use_is_refused_with_the_reason_unless_forced() {
    let data = Data::sound();
    let folder = data.path().to_str().unwrap();
    std::fs::write(data.path().join("lock"), "process 12 (highwaterd)\n").unwrap();
    assert_eq!(inspect(&["verify", folder]).2, 0, "a lock that nobody holds");
    let server = File::open(data.path().join("lock")).unwrap();
    flock(&server, FlockOperation::NonBlockingLockExclusive).unwrap();
    let table = data.table();
    for path in [folder, table.to_str().unwrap()] {
        let command = if path == folder { "verify" } else { "table" };
        let (out, error, code) = inspect(&[command, path]);
        assert_eq!((out.as_str(), code), ("", 2));
        assert!(
            error.contains("in use by process 12 (highwaterd)") && error.contains("--force-read-only-while-running"),
            "{error}"
        );
    }
    let (out, _, code) = inspect(&["verify", folder, "--force-read-only-while-running"]);
    assert_eq!(code, 0);
    assert!(out.contains("note: process 12 (highwaterd) is running on these files"), "{out}");
}

#[test]
fn what_is_no_store_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let (_, error, code) = inspect(&["verify", path]);
    assert_eq!(code, 2);
    assert!(error.contains("holds no store"), "{error}");
    assert_eq!(inspect(&["table", path]).2, 2);
    let missing = folder.path().join("missing.tbl");
    let (_, error, code) = inspect(&["table", missing.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(error.contains("cannot read"), "{error}");
}
