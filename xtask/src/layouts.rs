//! The engine's byte layouts in the book: taken from the first lines of the files that own them, so that the code is the
//! only source.
//!
//! `docs/internals/engine.md` holds, between `<!-- layout FILE -->` and `<!-- end -->`, the `//!` comment of each file of the
//! engine that draws a layout. The check compares; `cargo xtask layouts --write` brings the page up to date: it renews every
//! section, drops those of files that draw nothing any more, and appends those that are missing.

use std::path::{Path, PathBuf};

/// The page.
const PAGE: &str = "docs/internals/engine.md";
/// Where layouts are looked for.
const SOURCES: &str = "engine/src";
const BEGIN: &str = "<!-- layout ";
const END: &str = "<!-- end -->";

/// `cargo xtask layouts [--write]`.
pub fn command(args: &[String]) -> Result<(), String> {
    match args {
        [] => check(Path::new(".")),
        [option] if option == "--write" => {
            let (page, wanted) = renewed(Path::new("."))?;
            if page != wanted {
                std::fs::write(PAGE, wanted).map_err(|error| format!("{PAGE}: {error}"))?;
                println!("{PAGE} was brought up to date");
            }
            check(Path::new("."))
        }
        [other, ..] => Err(format!("layouts: no option '{other}'")),
    }
}

/// Whether the page shows what the code says, and the code's drawings fit its constants. `root` is the project's folder.
pub fn check(root: &Path) -> Result<(), String> {
    let (page, wanted) = renewed(root)?;
    let mut wrong = Vec::new();
    for (file, source) in drawn(root)? {
        wrong.extend(contradictions(&file, &source));
    }
    if let Some(at) = page.lines().zip(wanted.lines()).position(|(is, should)| is != should) {
        wrong.push(format!("{PAGE}: line {} is not what the code says", at + 1));
    } else if page != wanted {
        wrong.push(format!("{PAGE} ends otherwise than the code says"));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    wrong.push("cargo xtask layouts --write takes the page from the code".into());
    Err(wrong.join("\n"))
}

/// The page as it is, and as the code wants it.
fn renewed(root: &Path) -> Result<(String, String), String> {
    let page = read(&root.join(PAGE))?;
    let drawn = drawn(root)?;
    let mut wanted = String::new();
    let mut shown = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(file) = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(" -->")) else {
            wanted.push_str(line);
            wanted.push('\n');
            continue;
        };
        if !lines.any(|line| line == END) {
            return Err(format!("{PAGE}: the section of {file} has no {END}"));
        }
        if let Some((_, source)) = drawn.iter().find(|(drawn, _)| drawn == file) {
            wanted.push_str(&section(file, source));
            shown.push(file.to_owned());
        }
    }
    for (file, source) in drawn.iter().filter(|(file, _)| !shown.contains(file)) {
        wanted.push('\n');
        wanted.push_str(&section(file, source));
    }
    Ok((page, wanted))
}

/// Files of the engine whose first lines draw a layout: name relative to the root, and text. In the order of their names.
fn drawn(root: &Path) -> Result<Vec<(String, String)>, String> {
    let mut files = Vec::new();
    collect(&root.join(SOURCES), &mut files)?;
    files.sort();
    let mut drawn = Vec::new();
    for file in files {
        let source = read(&file)?;
        if header(&source).any(|line| line == "```text") {
            let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            drawn.push((name.trim_start_matches("./").to_owned(), source));
        }
    }
    Ok(drawn)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| format!("{}: {error}", folder.display()))?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The lines of a file's `//!` comment, without the mark.
fn header(source: &str) -> impl Iterator<Item = &str> {
    let lines = source.lines().take_while(|line| line.starts_with("//!"));
    lines.map(|line| line.strip_prefix("//! ").unwrap_or_else(|| line.trim_start_matches("//!")))
}

/// What the page shows of a file: its comment, with headings as plain lines and links into the code as code.
fn section(file: &str, source: &str) -> String {
    let mut out = format!("{BEGIN}{file} -->\n\n`{file}`: ");
    let mut drawing = false;
    for line in header(source) {
        if line.starts_with("```") {
            drawing = !drawing;
        }
        let shown = if drawing { line.to_owned() } else { without_links(line.trim_start_matches(['#', ' '])) };
        out.push_str(&shown);
        out.push('\n');
    }
    out.push('\n');
    out.push_str(END);
    out.push('\n');
    out
}

/// ``[`crate::Store`]`` becomes `` `crate::Store` ``.
fn without_links(line: &str) -> String {
    line.replace("[`", "`").replace("`]", "`")
}

/// Where a drawing and the constants beside it disagree.
fn contradictions(file: &str, source: &str) -> Vec<String> {
    let drawing: Vec<&str> = header(source).collect();
    // Drawings of varying fields have no column of offsets.
    let has_offsets = drawing.iter().any(|line| line.starts_with("offset "));
    let mut wrong = Vec::new();
    for line in source.lines().map(str::trim) {
        let Some((name, value)) = constant(line) else { continue };
        if name.ends_with("MAGIC")
            && let Some(magic) = value.strip_prefix("*b")
            && !drawing.iter().any(|line| line.contains(magic))
        {
            wrong.push(format!("{file}: {name} is {magic}, and its drawing does not show it"));
        }
        if name == "VERSION" {
            let shown = |line: &&str| {
                let after = line.split_once("version").map(|(_, after)| after.trim_start_matches([' ', '=']));
                after.is_some_and(|after| number_after_type(after) == Some(value))
            };
            if !drawing.iter().any(shown) {
                wrong.push(format!("{file}: {name} is {value}, and its drawing shows another version"));
            }
        }
        let is_offset = has_offsets && (name == "HEADER" || name.ends_with("_AT"));
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        if is_offset && is_number && !drawing.iter().any(|line| line.split_whitespace().any(|word| word == value)) {
            wrong.push(format!("{file}: {name} is {value}, and its drawing has nothing at that offset"));
        }
    }
    wrong
}

/// `u16, 2` and `u8, 2`: the 2.
fn number_after_type(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("u16").or_else(|| text.strip_prefix("u8"))?;
    let rest = rest.trim_start_matches([',', ' ', '=']);
    Some(rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default())
}

/// Name and value of a constant of one line.
fn constant(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) ")).unwrap_or(line);
    let (name, rest) = line.strip_prefix("const ")?.split_once(':')?;
    let (_, value) = rest.split_once('=')?;
    Some((name.trim(), value.trim().trim_end_matches(';')))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn the_book_shows_the_layouts_that_the_code_draws() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        if let Err(wrong) = check(root) {
            panic!("{wrong}");
        }
    }

    const SOURCE: &str = "//! # A thing: of [`Env`]\n//!\n//! ```text\n//! offset  0  magic \"HWXX\" | 4 version u16, 2\n//! ```\nconst MAGIC: [u8; 4] = *b\"HWXX\";\npub const VERSION: u16 = 2;\n";

    #[test]
    fn a_section_is_the_comment_with_its_drawing() {
        let expected = "<!-- layout a.rs -->\n\n`a.rs`: A thing: of `Env`\n\n```text\noffset  0  magic \"HWXX\" | 4 version u16, 2\n```\n\n<!-- end -->\n";
        assert_eq!(section("a.rs", SOURCE), expected);
    }

    #[test]
    fn a_drawing_that_does_not_fit_its_constants_is_noticed() {
        assert_eq!(contradictions("a.rs", SOURCE), Vec::<String>::new());
        assert_eq!(contradictions("a.rs", &SOURCE.replace("= 2;", "= 3;")).len(), 1);
        assert_eq!(contradictions("a.rs", &SOURCE.replace("*b\"HWXX\"", "*b\"HWYY\"")).len(), 1);
        assert_eq!(contradictions("a.rs", &format!("{SOURCE}const SUM_AT: usize = 44;\n")).len(), 1);
    }
}
