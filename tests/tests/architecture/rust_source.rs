//! What the modules of a crate name: paths, read off the tokens of its sources.
//!
//! No type is known here, so methods and names that a macro makes are not followed. Comments,
//! literals and what `#[cfg(test)]` marks are left out.

use std::collections::{BTreeMap, BTreeSet};

/// Arrows from names to names.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// Re-exports of re-exports at most; more are a circle of their own.
const DEPTH_MAX: usize = 16;

/// Identifiers, `::` and single characters. A literal is one `"`; comments and lifetimes are none.
pub(crate) fn tokens(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let is_word =
        |at: usize| bytes.get(at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let find = |from: usize, end: &str| text[from..].find(end).map_or(bytes.len(), |at| from + at);
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => at = find(at, "\n"),
            b'/' if bytes.get(at + 1) == Some(&b'*') => at = find(at, "*/") + 2,
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
                found.push("\"");
            }
            b'\'' if bytes.get(at + 1) == Some(&b'\\') => {
                at = find(at + 3, "'") + 1;
                found.push("\"");
            }
            b'\'' => {
                let character = text[at + 1..].chars().next().map_or(1, char::len_utf8);
                if bytes.get(at + 1 + character) == Some(&b'\'') {
                    at += character + 2;
                    found.push("\"");
                } else {
                    at += 1;
                    while is_word(at) {
                        at += 1;
                    }
                }
            }
            _ if is_word(at) => {
                while is_word(at) {
                    at += 1;
                }
                let hashes = text[at..].bytes().take_while(|byte| *byte == b'#').count();
                let opens = bytes.get(at + hashes) == Some(&b'"');
                if opens && matches!(&text[start..at], "r" | "br" | "cr") {
                    let end = format!("\"{}", "#".repeat(hashes));
                    at = find(at + hashes + 1, &end) + end.len();
                    found.push("\"");
                } else {
                    found.push(&text[start..at]);
                }
            }
            b':' if bytes.get(at + 1) == Some(&b':') => {
                at += 2;
                found.push("::");
            }
            byte => {
                at += 1;
                if byte.is_ascii() && !byte.is_ascii_whitespace() {
                    found.push(&text[start..at]);
                }
            }
        }
    }
    found
}

/// The place behind the bracket that closes the one at `at`.
fn closed(tokens: &[&str], mut at: usize) -> usize {
    let mut depth = 0;
    while at < tokens.len() {
        depth += match tokens[at] {
            "(" | "[" | "{" => 1,
            ")" | "]" | "}" => -1,
            _ => 0,
        };
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The tokens without the items that `#[cfg(test)]` marks, and the files among those by module
/// name.
pub(crate) fn shipped<'a>(tokens: &[&'a str]) -> (Vec<&'a str>, Vec<&'a str>) {
    let (mut kept, mut tests, mut at) = (Vec::new(), Vec::new(), 0);
    while at < tokens.len() {
        if !tokens[at..].starts_with(&["#", "[", "cfg"]) {
            kept.push(tokens[at]);
            at += 1;
            continue;
        }
        let end = closed(tokens, at + 1);
        let condition = &tokens[at..end];
        if !condition.contains(&"test") || condition.contains(&"not") {
            kept.extend(condition);
            at = end;
            continue;
        }
        at = end;
        while tokens[at] == "#" {
            at = closed(tokens, at + 1);
        }
        if let ["mod", name, ";", ..] = tokens[at..] {
            tests.push(name);
        }
        loop {
            match tokens[at] {
                ";" => break at += 1,
                "{" => {
                    at = closed(tokens, at);
                    break at += usize::from(tokens.get(at) == Some(&";"));
                }
                "(" | "[" => at = closed(tokens, at),
                _ => at += 1,
            }
        }
    }
    (kept, tests)
}

/// A name that `use` brings in.
#[derive(Debug)]
struct Import {
    name: String,
    path: Vec<String>,
    is_public: bool,
}

/// What one file names.
#[derive(Debug)]
struct Module {
    file: String,
    imports: Vec<Import>,
    /// Outside of `use`, two segments at least.
    paths: Vec<Vec<String>>,
    /// Outside of `use`: single names, and the first segments of paths.
    names: BTreeSet<String>,
}

impl Module {
    fn read(file: String, tokens: &[&str]) -> Self {
        let is_name = |token: &str| {
            token.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        };
        let (imports, paths, names) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut module = Self { file, imports, paths, names };
        let mut at = 0;
        while at < tokens.len() {
            let before = at.checked_sub(1).map_or("", |before| tokens[before]);
            let after = tokens.get(at + 1).copied().unwrap_or("");
            if tokens[at] == "use" && after != "<" {
                let is_public = before == "pub" || before == ")";
                at = module.import(tokens, at + 1, &[], is_public);
            } else if tokens[at..].starts_with(&["pub", "(", "in"]) {
                // Where a name may be seen is no use of that place.
                at = closed(tokens, at + 1);
            } else if is_name(tokens[at]) && before != "." && before != "::" {
                let inline = tokens[at] == "mod" && tokens.get(at + 2) == Some(&"{");
                assert!(!inline, "{}: modules have files of their own", module.file);
                let mut path = vec![tokens[at].to_owned()];
                while tokens.get(at + 1) == Some(&"::")
                    && tokens.get(at + 2).is_some_and(|token| is_name(token))
                {
                    at += 2;
                    path.push(tokens[at].to_owned());
                }
                module.names.insert(path[0].clone());
                if path.len() > 1 {
                    module.paths.push(path);
                }
                at += 1;
            } else {
                at += 1;
            }
        }
        module
    }

    /// Reads the tree of a `use` from `at`; returns the place behind it.
    fn import(&mut self, tokens: &[&str], mut at: usize, prefix: &[String], public: bool) -> usize {
        let mut path = prefix.to_vec();
        loop {
            match tokens[at] {
                "::" => at += 1,
                "{" => {
                    at += 1;
                    while tokens[at] != "}" {
                        at = self.import(tokens, at, &path, public);
                        at += usize::from(tokens[at] == ",");
                    }
                    return at + 1;
                }
                "as" => {
                    self.add(path, tokens[at + 1], public);
                    return at + 2;
                }
                "," | ";" | "}" => {
                    path.pop_if(|last| last == "self");
                    let name = path.last().cloned().unwrap_or_default();
                    self.add(path, &name, public);
                    return at;
                }
                segment => {
                    path.push(segment.to_owned());
                    at += 1;
                }
            }
        }
    }

    fn add(&mut self, path: Vec<String>, name: &str, is_public: bool) {
        self.imports.push(Import { name: name.to_owned(), path, is_public });
    }
}

/// The modules of a crate, by their paths.
#[derive(Debug)]
pub(crate) struct Crate(BTreeMap<Vec<String>, Module>);

impl Crate {
    /// Reads sources: paths below the folder of `lib.rs`, and texts.
    pub(crate) fn read(sources: &[(String, String)]) -> Self {
        let (mut modules, mut tests) = (BTreeMap::new(), Vec::new());
        for (file, text) in sources.iter().filter(|(file, _)| file != "main.rs") {
            let stem = file.trim_end_matches(".rs");
            let mut path: Vec<String> = stem.split('/').map(str::to_owned).collect();
            path.pop_if(|last| last == "mod" || last == "lib");
            let (kept, left_out) = shipped(&tokens(text));
            tests.extend(left_out.iter().map(|name| [&path[..], &[(*name).to_owned()]].concat()));
            modules.insert(path, Module::read(file.clone(), &kept));
        }
        modules.retain(|path, _| !tests.iter().any(|test| path.starts_with(test)));
        Self(modules)
    }

    /// Files that tests alone are built from are none of them.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(|module| module.file.as_str())
    }

    /// The path from the crate's root, where it is one of this crate; `module` is where it is
    /// written.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Vec<String>> {
        let supers = path.iter().take_while(|segment| *segment == "super").count();
        let above = || module.len().checked_sub(supers).map(|len| module[..len].to_vec());
        let (mut from, rest) = match path.first()?.as_str() {
            "crate" => (Vec::new(), &path[1..]),
            "self" => (module.to_vec(), &path[1..]),
            "super" => (above()?, &path[supers..]),
            name => {
                let child = [module, &[name.to_owned()]].concat();
                self.0.contains_key(&child).then(|| (module.to_vec(), path))?
            }
        };
        from.extend_from_slice(rest);
        Some(from)
    }

    /// The module that defines what `path` names in `module`; re-exports are followed.
    fn definer(&self, module: &[String], path: &[String], depth: usize) -> Option<Vec<String>> {
        let absolute = self.absolute(module, path)?;
        let known = |len: &usize| self.0.contains_key(&absolute[..*len]);
        let len = (0..=absolute.len()).rev().find(known)?;
        let (found, rest) = absolute.split_at(len);
        if let Some(name) = rest.first().filter(|_| depth < DEPTH_MAX) {
            let mut imports = self.0[found].imports.iter();
            if let Some(import) = imports.find(|import| import.name == *name)
                && import.path != [name.as_str()]
            {
                return self.definer(found, &[&import.path, &rest[1..]].concat(), depth + 1);
            }
        }
        Some(found.to_vec())
    }

    /// From each file to the files whose items it uses. To hand an item on by `pub use` is not to
    /// use it.
    pub(crate) fn files_used(&self) -> Graph {
        let mut graph = Graph::new();
        for (path, module) in self.0.iter().filter(|(path, _)| !path.is_empty()) {
            let imports = module.imports.iter().filter(|import| {
                !import.is_public || import.name == "*" || module.names.contains(&import.name)
            });
            let paths = imports.map(|import| &import.path).chain(&module.paths);
            let used = paths.filter_map(|used| self.definer(path, used, 0));
            let files = used.map(|used| self.0[&used].file.clone());
            let others = files.filter(|file| *file != module.file && file != "lib.rs");
            graph.insert(module.file.clone(), others.collect());
        }
        graph
    }

    /// From each top-level module to those that it names, in `pub use`, too.
    pub(crate) fn top_level(&self) -> Graph {
        let mut graph = Graph::new();
        for (path, module) in self.0.iter().filter(|(path, _)| !path.is_empty()) {
            let imports = module.imports.iter().map(|import| &import.path);
            let absolute = imports.chain(&module.paths).filter_map(|p| self.absolute(path, p));
            let tops = absolute.filter_map(|named| named.into_iter().next());
            let others =
                tops.filter(|top| *top != path[0] && self.0.contains_key([top.clone()].as_slice()));
            graph.entry(path[0].clone()).or_default().extend(others);
        }
        graph
    }
}

/// A circle of the graph: each name has an arrow to the next one, the last one to the first.
pub(crate) fn circle(graph: &Graph) -> Option<Vec<String>> {
    let mut left = graph.clone();
    loop {
        let names: BTreeSet<String> = left.keys().cloned().collect();
        left.values_mut().for_each(|to| to.retain(|name| names.contains(name)));
        left.retain(|_, to| !to.is_empty());
        if left.len() == names.len() {
            break;
        }
    }
    // Whatever is left has an arrow to something that is left.
    let mut way = vec![left.keys().next()?];
    loop {
        let next = &left[*way.last()?].iter().next()?;
        if let Some(start) = way.iter().position(|seen| seen == next) {
            return Some(way[start..].iter().map(|&name| name.clone()).collect());
        }
        way.push(next);
    }
}
