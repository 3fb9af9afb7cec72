//! The book: every page is in the summary, and every link between pages leads somewhere.

use std::path::{Path, PathBuf};

/// Checks the pages of `docs/`.
pub fn check() -> Result<(), String> {
    let mut pages = Vec::new();
    collect(Path::new("docs"), &mut pages)?;
    pages.sort();
    let summary = read(Path::new("docs/SUMMARY.md"))?;
    let mut wrong = Vec::new();
    for page in &pages {
        let text = read(page)?;
        let folder = page.parent().unwrap_or(Path::new("docs"));
        for link in links(&text) {
            if !folder.join(&link).is_file() {
                wrong.push(format!("{}: {link} does not exist", page.display()));
            }
        }
        let name = page.strip_prefix("docs").unwrap_or(page).display().to_string();
        if name != "SUMMARY.md" && !summary.contains(&format!("({name})")) {
            wrong.push(format!("{name} is not in docs/SUMMARY.md"));
        }
    }
    if wrong.is_empty() {
        println!("{} pages, all linked", pages.len());
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}

fn collect(folder: &Path, pages: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| format!("{}: {error}", folder.display()))?.path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "book") {
            collect(&path, pages)?;
        } else if path.extension().is_some_and(|kind| kind == "md") {
            pages.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Relative links to pages, without their anchors.
fn links(text: &str) -> Vec<String> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(link, _)| link))
        .map(|link| link.split('#').next().unwrap_or_default().to_owned())
        .filter(|link| link.ends_with(".md") && !link.contains("://"))
        .collect()
}
