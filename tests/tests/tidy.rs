//! The house style, as far as a program can see it. Every rule reads the files of the tree as text.
//!
//! - `the_tree_is_tidy`: sizes, widths, words, names, forgotten files, dependencies, links
//! - `every_rule_sees_its_offence`: each rule is shown one file that breaks it and one that does
//!   not
//!
//! A rule that is wrong is mended or dropped here; there is no list of files that may break it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The longest file, counted to the beginning of its tests.
const FILE_LINES_MAX: usize = 500;
/// The longest function, blank lines and comments left out.
const FUNCTION_LINES_MAX: usize = 60;
const COLUMNS_MAX: usize = 100;

#[test]
fn the_tree_is_tidy() {
    let tree = Tree::read(&root());
    let offences = offences(&tree);
    let mut report = String::new();
    for (rule, place) in &offences {
        let _ = writeln!(report, "{rule}: {place}");
    }
    assert!(tree.files.len() > 50, "the tree was not found");
    assert!(offences.is_empty(), "{} offences:\n{report}", offences.len());
}

#[test]
fn every_rule_sees_its_offence() {
    let long_file = "//! A.\nfn a() {}\n".repeat(300);
    let long_function = format!("//! A.\nfn a() {{\n{}}}\n", "    b();\n".repeat(61));
    let wide = format!("//! {}\n", "x".repeat(100));
    let bad: &[(&str, &str, &str)] = &[
        ("file is too long", "engine/src/a.rs", &long_file),
        ("function is too long", "engine/src/a.rs", &long_function),
        ("line is too wide", "engine/src/a.rs", &wide),
        ("no module comment", "engine/src/a.rs", "use core::fmt;\n"),
        ("forbidden word", "io/src/a.rs", "//! A.\n// FIXME: later\n"),
        ("forbidden word", "io/src/a.rs", "//! A.\n// TODO: later\n"),
        ("forbidden word", "io/src/a.rs", "//! A.\n#[allow(dead_code)]\n"),
        ("forbidden word", "io/src/a.rs", "//! A.\nfn a() { todo!() }\n"),
        ("forbidden word", "io/src/a.rs", "//! A.\nfn a() { panic!() }\n"),
        ("unordered map", "sim/src/a.rs", "//! A.\nuse std::collections::HashMap;\n"),
        ("unsafe outside", "io/src/a.rs", "//! A.\nfn a() { unsafe { b() } }\n"),
        ("vague name", "io/src/util.rs", "//! A.\n"),
        ("test name", "tests/tests/a.rs", "//! A.\n#[test]\nfn test_a() {}\n"),
        ("sleep in a test", "tests/tests/a.rs", "//! A.\nfn a() { thread::sleep(b) }\n"),
        ("version outside", "io/Cargo.toml", "[dependencies]\nserde = \"1\"\n"),
        ("left behind", "io/src/a.rs.orig", ""),
        ("broken link", "docs/a.md", "See [b](b.md).\n"),
        ("broken link", "docs/a.md", "# Here\nSee [b](#there).\n"),
    ];
    for (rule, path, text) in bad {
        let tree = Tree::of(&[("io/src/lib.rs", "//! A.\nmod a;\nmod util;\n"), (path, text)]);
        let found = offences(&tree);
        assert!(found.iter().any(|(name, _)| name == rule), "{rule} not seen in {path}: {found:?}");
    }
    let tree = Tree::of(&[("io/src/lib.rs", "//! A.\n"), ("io/src/a.rs", "//! A.\n")]);
    assert_eq!(offences(&tree), [("forgotten file", "io/src/a.rs".to_owned())]);

    let tree = Tree::of(&[
        (
            "docs/a.md",
            "# One `two` three\n[a](../README.md) [b](#one-two-three) [c](https://d/e)\n",
        ),
        ("README.md", "[docs](docs/a.md#one-two-three)\n"),
        ("io/src/lib.rs", "//! A.\nmod a;\n// TODO(once b is there): c\n"),
        ("io/src/a.rs", "//! A.\n#[cfg(test)]\nmod tests { fn a() { panic!() } }\n"),
        ("io/Cargo.toml", "[dependencies]\nserde.workspace = true\n[dev-dependencies]\n"),
    ]);
    assert_eq!(offences(&tree), []);
}

/// What is wrong, and where.
type Offence = (&'static str, String);

fn offences(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for file in &tree.files {
        let path = file.path.to_string_lossy();
        if path.ends_with(".orig") || path.ends_with(".rej") || path.ends_with('~') {
            found.push(("left behind", path.clone().into_owned()));
        }
        match file.extension() {
            "rs" => rust_offences(tree, file, &mut found),
            "sh" | "c" => width_offences(file, &mut found),
            "md" => link_offences(tree, file, &mut found),
            "toml" if path.ends_with("/Cargo.toml") && !is_workspace_of_its_own(&path) => {
                version_offences(file, &mut found);
            }
            _ => {}
        }
    }
    forgotten_files(tree, &mut found);
    found
}

fn rust_offences(tree: &Tree, file: &File, found: &mut Vec<Offence>) {
    let path = file.path.to_string_lossy();
    let is_test = file.is_test();
    let code = file.code();
    if !is_test && code.lines().count() > FILE_LINES_MAX {
        let lines = code.lines().count();
        found.push(("file is too long", format!("{path}: {lines} lines")));
    }
    if !file.text.starts_with("//!") && !path.starts_with("fuzz/") {
        found.push(("no module comment", path.clone().into_owned()));
    }
    let stem = file.path.file_stem().unwrap_or_default().to_string_lossy();
    if ["util", "utils", "common", "helpers", "misc"].contains(&&*stem) {
        found.push(("vague name", path.clone().into_owned()));
    }
    width_offences(file, found);
    if tree.is_rule_book(file) {
        return;
    }
    word_offences(file, found);
    if !is_test {
        function_offences(file, found);
    }
}

fn width_offences(file: &File, found: &mut Vec<Offence>) {
    for (number, line) in file.numbered() {
        // An address cannot be broken.
        if line.chars().count() > COLUMNS_MAX && !line.contains("://") {
            found.push(("line is too wide", file.place(number)));
        }
    }
}

fn word_offences(file: &File, found: &mut Vec<Offence>) {
    let path = file.path.to_string_lossy();
    let code_lines = file.code().lines().count();
    let is_ordered = path.starts_with("engine/src") || path.starts_with("sim/src");
    for (number, line) in file.numbered() {
        let in_code = number <= code_lines && !file.is_test();
        let has = |word: &str| line.contains(word);
        let is_open_todo = has("TODO") && !has("TODO(");
        if is_open_todo || has("FIXME") || has("#[allow(") || has("#![allow(") {
            found.push(("forbidden word", file.place(number)));
        }
        if in_code && (has("todo!(") || has("unimplemented!(")) {
            found.push(("forbidden word", file.place(number)));
        }
        if in_code && path.starts_with("io/src") && has("panic!(") {
            found.push(("forbidden word", file.place(number)));
        }
        if is_ordered && (has("HashMap") || has("HashSet")) {
            found.push(("unordered map", file.place(number)));
        }
        let is_unsafe = has("unsafe {") || has("unsafe fn") || has("unsafe impl");
        if is_unsafe && !path.starts_with("io/src/process") && !path.starts_with("tests/setup") {
            found.push(("unsafe outside", file.place(number)));
        }
        if line.trim_start().starts_with("fn test_") {
            found.push(("test name", file.place(number)));
        }
        if path.starts_with("tests/tests") && has("thread::sleep(") {
            found.push(("sleep in a test", file.place(number)));
        }
    }
}

/// Finds functions by the indentation that rustfmt gives them: they end at the first closing brace
/// as deep as their `fn`.
fn function_offences(file: &File, found: &mut Vec<Offence>) {
    let mut open: Option<(usize, String, usize)> = None;
    let code_lines = file.code().lines().count();
    for (number, line) in file.numbered().filter(|(number, _)| *number <= code_lines) {
        let text = line.trim_start();
        let indent = &line[..line.len() - text.len()];
        match &mut open {
            None if is_function(text) && !text.ends_with('}') && !text.ends_with(';') => {
                open = Some((number, format!("{indent}}}"), 0));
            }
            None => {}
            Some((first, end, lines)) if line == *end => {
                if *lines > FUNCTION_LINES_MAX {
                    let place = format!("{}: {lines} lines", file.place(*first));
                    found.push(("function is too long", place));
                }
                open = None;
            }
            Some((_, _, lines)) => {
                *lines += usize::from(!text.is_empty() && !text.starts_with("//"));
            }
        }
    }
}

fn is_function(text: &str) -> bool {
    let words = ["pub ", "pub(crate) ", "pub(super) ", "const ", "async ", "unsafe "];
    let mut rest = text;
    while let Some(next) = words.iter().find_map(|word| rest.strip_prefix(word)) {
        rest = next;
    }
    rest.starts_with("fn ")
}

/// Tells whether a file is of a workspace that no other build knows of.
fn is_workspace_of_its_own(path: &str) -> bool {
    path.starts_with("fuzz/") || path.starts_with("tests/simulators/")
}

/// Versions live in the root `Cargo.toml` alone.
fn version_offences(file: &File, found: &mut Vec<Offence>) {
    let mut in_dependencies = false;
    for (number, line) in file.numbered() {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
        } else if in_dependencies && (line.contains("= \"") || line.contains("version =")) {
            found.push(("version outside", file.place(number)));
        }
    }
}

/// Every source file must be named by a `mod` line, or be the root of a target.
fn forgotten_files(tree: &Tree, found: &mut Vec<Offence>) {
    for file in &tree.files {
        let path = file.path.to_string_lossy();
        let is_source = file.extension() == "rs" && path.contains("src/");
        if !is_source || path.starts_with("fuzz/") || is_target_root(&file.path) {
            continue;
        }
        let name = file.module_name();
        let is_named = tree.files.iter().any(|other| {
            other.declares(&name) && other.modules_folder() == file.parent_modules_folder()
        });
        if !is_named {
            found.push(("forgotten file", path.into_owned()));
        }
    }
}

fn is_target_root(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let is_bin = text.contains("src/bin/")
        && (text.ends_with("/main.rs") || path.parent().is_some_and(|p| p.ends_with("bin")));
    is_bin || text.ends_with("src/lib.rs") || text.ends_with("src/main.rs")
}

/// Links to files must lead to files, and those to headings to headings.
fn link_offences(tree: &Tree, file: &File, found: &mut Vec<Offence>) {
    let mut in_block = false;
    for (number, line) in file.numbered() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        if in_block {
            continue;
        }
        for link in links(line) {
            if !tree.resolves(file, link) {
                found.push(("broken link", format!("{}: {link}", file.place(number))));
            }
        }
    }
}

fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next())
}

/// One file of the tree.
struct File {
    path: PathBuf,
    text: String,
}

impl File {
    fn extension(&self) -> &str {
        self.path.extension().and_then(|extension| extension.to_str()).unwrap_or_default()
    }

    fn is_test(&self) -> bool {
        let path = self.path.to_string_lossy();
        path.contains("/tests/") || path.ends_with("/tests.rs") || path.starts_with("fuzz/")
    }

    /// Gives the text up to its tests.
    fn code(&self) -> &str {
        let end = self.text.find("\n#[cfg(test)]\nmod ").unwrap_or(self.text.len());
        &self.text[..end]
    }

    fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    fn is_folder_module(&self) -> bool {
        self.path.ends_with("mod.rs")
    }

    fn module_name(&self) -> String {
        let path = if self.is_folder_module() { self.path.parent() } else { Some(&*self.path) };
        let stem = path.and_then(Path::file_stem).unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }

    /// Gives the folder in which this file's modules are.
    fn modules_folder(&self) -> PathBuf {
        let parent = self.path.parent().unwrap_or(Path::new("")).to_path_buf();
        if self.is_folder_module() || is_target_root(&self.path) {
            parent
        } else {
            parent.join(self.module_name())
        }
    }

    /// Gives the folder in which the module that this file is must be declared.
    fn parent_modules_folder(&self) -> PathBuf {
        let levels = if self.is_folder_module() { 2 } else { 1 };
        self.path.ancestors().nth(levels).unwrap_or(Path::new("")).to_path_buf()
    }

    fn declares(&self, name: &str) -> bool {
        self.extension() == "rs"
            && self.text.lines().any(|line| {
                let line = line.trim_start().trim_start_matches("pub(crate) ");
                let line = line.trim_start_matches("pub(super) ").trim_start_matches("pub ");
                line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) == Some(name)
            })
    }

    fn has_heading(&self, anchor: &str) -> bool {
        self.text.lines().any(|line| line.starts_with('#') && slug(line) == anchor)
            || self.text.contains(&format!("id=\"{anchor}\""))
    }
}

/// A heading's anchor as the usual renderers make it.
fn slug(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Every text file that belongs to the project.
struct Tree {
    files: Vec<File>,
    paths: BTreeSet<PathBuf>,
}

impl Tree {
    fn of(files: &[(&str, &str)]) -> Tree {
        let file = |(path, text): &(&str, &str)| {
            let (path, text) = (PathBuf::from(path), (*text).to_owned());
            File { path, text }
        };
        let files: Vec<File> = files.iter().map(file).collect();
        let paths = files.iter().map(|file| file.path.clone()).collect();
        Tree { files, paths }
    }

    fn read(root: &Path) -> Tree {
        let mut tree = Tree { files: Vec::new(), paths: BTreeSet::new() };
        tree.add(root, Path::new(""));
        tree
    }

    fn add(&mut self, root: &Path, folder: &Path) {
        let mut entries: Vec<_> = fs::read_dir(root.join(folder))
            .expect("the folder was listed")
            .map(|entry| entry.expect("the folder can be read").file_name())
            .collect();
        entries.sort();
        for name in entries {
            let path = folder.join(&name);
            let full = root.join(&path);
            // What tools leave is not ours; fixtures are given as they are, but may be linked to.
            let skipped = ["target", ".git", "corpus", "artifacts"];
            if skipped.iter().any(|skipped| name == *skipped) {
                continue;
            }
            self.paths.insert(path.clone());
            if name == "fixtures" {
                self.add_paths(root, &path);
                continue;
            }
            if full.is_dir() {
                self.add(root, &path);
            } else if let Ok(text) = fs::read_to_string(&full) {
                self.files.push(File { path, text });
            }
        }
    }

    /// Takes in what may be linked to and is not judged.
    fn add_paths(&mut self, root: &Path, folder: &Path) {
        for entry in fs::read_dir(root.join(folder)).expect("the folder was listed") {
            let path = folder.join(entry.expect("the folder can be read").file_name());
            if root.join(&path).is_dir() {
                self.add_paths(root, &path);
            }
            self.paths.insert(path);
        }
    }

    /// This file names what it forbids.
    fn is_rule_book(&self, file: &File) -> bool {
        file.path == Path::new("tests/tests/tidy.rs")
    }

    fn resolves(&self, from: &File, link: &str) -> bool {
        if link.contains("://") || link.starts_with("mailto:") {
            return true;
        }
        let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
        let path = if target.is_empty() {
            from.path.clone()
        } else {
            normal(&from.path.parent().unwrap_or(Path::new("")).join(target))
        };
        let file = self.files.iter().find(|file| file.path == path);
        let is_there = self.paths.contains(&path);
        is_there && (anchor.is_empty() || file.is_some_and(|file| file.has_heading(anchor)))
    }
}

/// Resolves `.` and `..` without looking at the disk.
fn normal(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                parts.pop();
            }
            Component::CurDir => {}
            _ => parts.push(part),
        }
    }
    parts
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace exists")
}
