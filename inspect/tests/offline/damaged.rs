use std::fs::File;
use std::path::Path;

use serde_json::Value;

use crate::store::{Data, damage, inspect, inspect_json};

/// Damaged places of a verification: file name, offset, text.
fn verify(data: &Data) -> Vec<(String, u64, String)> {
    let (value, code) = inspect_json(&["verify", data.path().to_str().unwrap()]);
    let damages = value["damage"].as_array().unwrap();
    assert_eq!(code, u8::from(!damages.is_empty()), "{value}");
    damages.iter().map(place).collect()
}

fn place(damage: &Value) -> (String, u64, String) {
    let file = Path::new(damage["file"].as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned();
    (file, damage["offset"].as_u64().unwrap(), damage["what"].as_str().unwrap().to_owned())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_sound_store_verifies() {
    assert_eq!(verify(&Data::sound().copy()), []);
}

#[test]
fn a_flipped_bit_in_a_table_is_named_with_its_block_and_the_rest_is_read() {
    let data = Data::sound().copy();
    let table = data.table();
    let (blocks, _) = inspect_json(&["table", table.to_str().unwrap(), "--blocks"]);
    let blocks = blocks["sections"].as_array().unwrap().iter().find(|section| section["title"] == "Blocks").unwrap();
    let blocks = blocks["rows"].as_array().unwrap().clone();
    let offset = blocks[1]["offset"].as_u64().unwrap();
    damage(&table, offset as usize + 7);
    let found = verify(&data);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0].0, found[0].1), (&name(&table), offset));
    let (value, code) = inspect_json(&["table", table.to_str().unwrap(), "--keys"]);
    assert_eq!(code, 1);
    let sections = value["sections"].as_array().unwrap();
    let versions = sections.iter().find(|section| section["title"] == "Versions").unwrap()["rows"].as_array().unwrap();
    assert!(versions.len() > 50 && versions.len() < 100, "{}", versions.len());
}

#[test]
fn a_table_without_footer_shortened_or_missing_is_named() {
    let sound = Data::sound();
    let data = sound.copy();
    let table = data.table();
    let length = std::fs::metadata(&table).unwrap().len();
    damage(&table, length as usize - 100);
    assert_eq!(verify(&data).len(), 1);
    assert_eq!(verify(&data)[0].0, name(&table));
    let data = sound.copy();
    File::options().write(true).open(data.table()).unwrap().set_len(length - 4096).unwrap();
    assert!(verify(&data)[0].2.contains("ends too early"));
    let data = sound.copy();
    std::fs::remove_file(data.table()).unwrap();
    assert!(verify(&data)[0].2.contains("missing"));
}

#[test]
fn damage_inside_the_log_is_refused_and_what_lies_behind_is_shown() {
    let data = Data::sound().copy();
    let segment = data.segment();
    // The third block: the checkpoint and the first append come before it.
    damage(&segment, 4096 * 4 + 60);
    let found = verify(&data);
    assert!(!found.is_empty() && found.iter().all(|(file, _, _)| *file == name(&segment)), "{found:?}");
    assert!(found[0].2.contains("a later block proves that it was durable"), "{found:?}");
    let (out, _, code) = inspect(&["log", segment.to_str().unwrap(), "--entries"]);
    assert_eq!(code, 1);
    assert!(out.contains("DAMAGED: recovery refuses") && out.contains("group 7 entries 3"), "{out}");
}

#[test]
fn an_unfinished_write_at_the_end_is_no_damage() {
    let data = Data::sound().copy();
    let segment = data.segment();
    let (value, _) = inspect_json(&["log", segment.to_str().unwrap()]);
    let sections = value["sections"].as_array().unwrap();
    let end = sections.iter().find(|section| section["title"] == "Where blocks end").unwrap()["rows"][0].clone();
    assert_eq!(end["verdict"], "the segment's blocks end here");
    // The last block is the seal of the close.
    damage(&segment, end["offset"].as_u64().unwrap() as usize - 4096 + 50);
    let (out, _, code) = inspect(&["log", segment.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("an unfinished write is left out"), "{out}");
}

#[test]
fn a_missing_segment_and_a_damaged_header_are_told_from_an_empty_log() {
    let sound = Data::sound();
    let data = sound.copy();
    std::fs::remove_file(data.segment()).unwrap();
    assert!(verify(&data).iter().any(|(_, _, what)| what.contains("the log is missing")), "{:?}", verify(&data));
    let data = sound.copy();
    damage(&data.segment(), 30);
    assert!(verify(&data).iter().any(|(_, _, what)| what.contains("header of segment")), "{:?}", verify(&data));
}

#[test]
fn a_damaged_edit_of_the_manifest_is_named_and_later_ones_are_shown() {
    let data = Data::sound().copy();
    let manifest = data.manifest();
    damage(&manifest, 4096 + 40);
    let found = verify(&data);
    assert_eq!((&found[0].0, found[0].1), (&name(&manifest), 4096));
    let (out, _, code) = inspect(&["manifest", data.path().to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(out.contains("behind damage"), "{out}");
}

#[test]
fn no_damage_anywhere_ends_the_tool() {
    let sound = Data::sound();
    for kind in ["MANIFEST", ".tbl", ".log"] {
        let data = sound.copy();
        let folder = data.path().to_str().unwrap().to_owned();
        let file = if kind == ".log" { data.segment() } else { data.files(kind).remove(0) };
        let original = std::fs::read(&file).unwrap();
        let used = original.len().min(60_000);
        for at in (0..used).step_by(1 + used / 60) {
            let mut bytes = original.clone();
            bytes[at] = bytes[at].wrapping_add(0x55);
            std::fs::write(&file, &bytes).unwrap();
            for command in ["log", "manifest", "verify", "stats"] {
                assert!(inspect(&[command, &folder]).2 <= 1);
            }
            if kind == ".tbl" {
                assert!(inspect(&["table", file.to_str().unwrap(), "--keys", "--blocks"]).2 <= 1);
            }
        }
        for length in [0, 1, 47, 4096, 4097, 8192] {
            std::fs::write(&file, original.get(..length).unwrap_or(&original)).unwrap();
            assert!(inspect(&["verify", &folder]).2 <= 1);
        }
    }
}
