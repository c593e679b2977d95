//! The table of schedules names tests that there are, and says truly when they run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What a source says of each of its tests: whether it is left to `make test-long`.
fn tests_in(source: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let (mut is_test, mut is_long) = (false, false);
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[tokio::test") || line == "#[test]" {
            is_test = true;
        } else if line.starts_with("#[ignore") {
            is_long = true;
        } else if !line.starts_with('#') {
            let name =
                line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split('(').next());
            if let (true, Some(name)) = (is_test, name) {
                found.push((name.to_owned(), is_long));
            }
            (is_test, is_long) = (false, false);
        }
    }
    found
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The names between backticks.
fn named(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_schedule_has_the_tests_that_the_table_names() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a workspace");
    let mut files = Vec::new();
    for package in ["api", "fanout-worker", "persister", "shared", "tests"] {
        sources(&repository.join(package), &mut files);
    }
    let mut tests: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    for file in files {
        for (name, is_long) in tests_in(&fs::read_to_string(file).expect("a source is text")) {
            tests.entry(name).or_default().push(is_long);
        }
    }
    let page = repository.join("docs/decisions/schedules.md");
    let page = fs::read_to_string(page).expect("the page is there");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .map(|row| row.split('|').collect())
        .collect();
    assert!(rows.len() > 30, "the page has its table");
    for row in rows {
        let [_, schedule, short, long, _] = row[..] else { panic!("three cells in {row:?}") };
        assert!(named(short).chain(named(long)).next().is_some(), "no test for {schedule}");
        for (cell, is_long) in [(short, false), (long, true)] {
            for name in named(cell) {
                assert_eq!(tests.get(name), Some(&vec![is_long]), "{name}, of {schedule}");
            }
        }
    }
}
