//! Import cycles between the files of a part: none are allowed. A file may import the module that
//! contains it.

use std::collections::{BTreeMap, BTreeSet};

use super::assert_no_violations;
use super::dependencies::part;
use super::source::{NamedPath, Token, expand, is_colons, is_word, sources};

/// Path of a module below the crate, such as `["engine", "load"]`.
type Module = Vec<String>;

struct Crate {
    /// Tokens by module.
    files: BTreeMap<Module, Vec<Token>>,
    /// Names that each module imports, with the paths that they stand for.
    imports: BTreeMap<Module, BTreeMap<String, Module>>,
}

fn module_of(path: &str) -> Option<Module> {
    let inside = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    Some(inside.split('/').map(str::to_owned).collect())
}

impl Crate {
    fn read(sources: Vec<(String, Vec<Token>)>) -> Self {
        let modules =
            sources.into_iter().filter(|(path, _)| part(path).is_some_and(|it| it != "bin"));
        let files = modules.filter_map(|(path, tokens)| Some((module_of(&path)?, tokens)));
        let mut all = Self { files: files.collect(), imports: BTreeMap::new() };
        let uses = |(module, tokens): (&Module, &Vec<Token>)| {
            let imported = all.named_by(module, tokens, true);
            (module.clone(), imported.into_iter().collect())
        };
        all.imports = all.files.iter().map(uses).collect();
        all
    }

    /// Absolute paths in a file, each with its name in that file; with `only_uses`, only those of
    /// `use` declarations.
    fn named_by(
        &self,
        module: &Module,
        tokens: &[Token],
        only_uses: bool,
    ) -> Vec<(String, Module)> {
        let absolute = |base: &[String], it: NamedPath<'_>| {
            let segments = it.segments.iter().map(|segment| (*segment).to_owned());
            (it.name.to_owned(), base.iter().cloned().chain(segments).collect())
        };
        let parent = &module[..module.len() - 1];
        let bases: [(&str, &[String]); 3] = [("crate", &[]), ("super", parent), ("self", module)];
        let mut named = Vec::new();
        for (i, token) in tokens.iter().enumerate() {
            let is_use = i > 0 && tokens[i - 1].text == "use";
            let is_path_start = i < 2 || !is_colons(&tokens[i - 2..]);
            if !is_word(&token.text) || !is_path_start || (only_uses && !is_use) {
                continue;
            }
            let base = bases.iter().find(|(start, _)| *start == token.text);
            let child = [module.as_slice(), std::slice::from_ref(&token.text)].concat();
            let mut found = Vec::new();
            match base {
                Some((_, base)) if is_colons(&tokens[i + 1..]) => {
                    expand(&tokens[i + 3..], &mut Vec::new(), &mut found);
                    named.extend(found.into_iter().map(|it| absolute(base, it)));
                }
                None if self.files.contains_key(&child) => {
                    expand(&tokens[i..], &mut Vec::new(), &mut found);
                    named.extend(found.into_iter().map(|it| absolute(module, it)));
                }
                _ => {}
            }
        }
        named
    }

    /// The module that declares the item at `path`; follows up to `depth` re-exports.
    fn owner(&self, path: &[String], depth: usize) -> Option<Module> {
        let mut module = Module::new();
        for segment in path {
            let inner = [module.as_slice(), std::slice::from_ref(segment)].concat();
            if self.files.contains_key(&inner) {
                module = inner;
                continue;
            }
            let imported = self.imports.get(&module).and_then(|names| names.get(segment));
            return match imported {
                Some(path) if depth > 0 => self.owner(path, depth - 1),
                _ => Some(module).filter(|module| !module.is_empty()),
            };
        }
        Some(module).filter(|module| !module.is_empty())
    }

    /// Modules of the same part that a module uses, except those that contain it.
    fn used_by(&self, module: &Module) -> BTreeSet<Module> {
        let named = self.named_by(module, &self.files[module], false);
        let owners = named.iter().filter_map(|(_, path)| self.owner(path, 8));
        owners.filter(|owner| owner[0] == module[0] && !module.starts_with(owner)).collect()
    }
}

#[test]
fn files_of_a_part_have_no_import_cycle() {
    let all = Crate::read(sources());
    let uses: BTreeMap<&Module, BTreeSet<Module>> =
        all.files.keys().map(|module| (module, all.used_by(module))).collect();
    let reached = |start: &Module| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![start.clone()]);
        while let Some(module) = next.pop() {
            next.extend(uses[&module].iter().filter(|used| seen.insert((*used).clone())).cloned());
        }
        seen
    };
    let cycles: BTreeSet<Vec<String>> = all
        .files
        .keys()
        .map(|module| (module, reached(module)))
        .filter(|(module, from)| from.contains(*module))
        .map(|(module, from)| {
            let in_cycle = from.iter().filter(|other| reached(other).contains(module));
            in_cycle.map(|other| other.join("::")).collect()
        })
        .collect();
    assert_no_violations("no import cycles", cycles.iter().map(|cycle| cycle.join(", ")).collect());
}
